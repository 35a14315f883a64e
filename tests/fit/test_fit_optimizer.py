import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene

from diffrender.errors import ConfigError, FitError
from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.schedules import Exponential

COLOR, SCALE = "objects.ball.material.base_color", "objects.ball.scale"


def model_of(*paths):
    return SceneModel(blob_scene(), blob_cameras(2), dict.fromkeys(paths))


def take_step(optimizer, model, step):
    moving = optimizer.begin(step)
    for latent in model.latents.values():
        if latent.requires_grad:
            latent.grad = torch.ones_like(latent)
    optimizer.step()
    return moving


def test_the_first_step_of_adam_is_one_learning_rate_long():
    model = model_of(COLOR, SCALE)
    before = {path: latent.detach().clone() for path, latent in model.latents.items()}
    take_step(FitOptimizer(model, {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.01)}, 10), model, 0)
    for path, lr in ((COLOR, 0.1), (SCALE, 0.01)):
        torch.testing.assert_close(model.latents[path].detach(), before[path] - lr)


def test_tiny_gradients_move_as_far_as_large_ones():
    model = model_of(SCALE)
    optimizer = FitOptimizer(model, {SCALE: ParamSettings(0.1)}, 10)
    before = model.latents[SCALE].item()
    optimizer.begin(0)
    model.latents[SCALE].grad = torch.tensor(1e-9)
    optimizer.step()
    assert model.latents[SCALE].item() == pytest.approx(before - 0.1, rel=1e-2)


def test_a_pull_holds_at_its_start_what_gradients_do_not_determine():
    """Adam follows the signs of mere noise at full length: a random walk."""
    ends = {}
    for pull in (0.0, 0.5):
        model = model_of("cameras.pose")
        latent = model.latents["cameras.pose"]
        optimizer = FitOptimizer(model, {"cameras.pose": ParamSettings(0.02, pull=pull)}, 2000)
        generator = torch.Generator().manual_seed(0)
        for step in range(2000):
            optimizer.begin(step)
            latent.grad = torch.randn(latent.shape, generator=generator)
            optimizer.step()
        ends[pull] = float(latent.detach().square().mean().sqrt())
    assert ends[0.0] > 2.5 * ends[0.5]
    with pytest.raises(ConfigError, match="pull"):
        ParamSettings(0.1, pull=-1.0)


def test_a_value_stays_and_asks_for_no_gradient_before_start_and_from_stop_on():
    model = model_of(COLOR, SCALE)
    optimizer = FitOptimizer(
        model, {"material.base_color": ParamSettings(0.1), "scale": ParamSettings(0.1, start=2, stop=4)}, 6
    )
    seen = []
    for step in range(6):
        before = model.latents[SCALE].item()
        moving = take_step(optimizer, model, step)
        assert moving == [path for path, latent in model.latents.items() if latent.requires_grad]
        seen.append((SCALE in moving, model.latents[SCALE].item() != before))
    assert seen == [(False, False)] * 2 + [(True, True)] * 2 + [(False, False)] * 2


def test_schedules_shorten_the_steps():
    model = model_of(SCALE)
    optimizer = FitOptimizer(model, {"scale": ParamSettings(0.1, schedule=Exponential(final=0.01))}, 2)
    lengths = []
    for step in range(2):
        before = model.latents[SCALE].item()
        take_step(optimizer, model, step)
        lengths.append(before - model.latents[SCALE].item())
    assert lengths == pytest.approx([0.1, 0.01], rel=1e-4)


def test_rates_and_learned_values_must_match():
    for rates in (
        {COLOR: ParamSettings(0.1)},
        {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.1), "background": ParamSettings(0.1)},
    ):
        with pytest.raises(ConfigError, match="each learned value needs its settings"):
            FitOptimizer(model_of(COLOR, SCALE), rates, 10)


def test_nothing_that_moves_is_refused():
    with pytest.raises(ConfigError, match="nothing moves at step 0"):
        FitOptimizer(model_of(SCALE), {SCALE: ParamSettings(0.1, start=3)}, 10)
    with pytest.raises(
        ConfigError, match=r"objects\.ball\.scale: start must come before the end of the fit, at step 10"
    ):
        FitOptimizer(model_of(SCALE, COLOR), {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.1, start=10)}, 10)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        FitOptimizer(model_of(SCALE), {SCALE: ParamSettings(0.1)}, 0)


def test_moments_of_other_values_are_refused():
    state = FitOptimizer(model_of(SCALE), {SCALE: ParamSettings(0.1)}, 10).state_dict()
    with pytest.raises(FitError, match="the saved state learned"):
        FitOptimizer(model_of(COLOR), {COLOR: ParamSettings(0.1)}, 10).load_state_dict(state)
