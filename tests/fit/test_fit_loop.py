import math
import signal
from dataclasses import replace

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, render_blob

from diffrender.errors import ConfigError, FitError, ShapeError
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import FitSettings, fit
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Loss, Objective, Term
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.schedules import Cosine
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.fit.timings import PHASES
from diffrender.scene.parameter_paths import get_value

COLOR, SCALE, POSE, VERTICES = (
    f"objects.ball.{path}" for path in ("material.base_color", "scale", "pose", "mesh.vertices")
)
OBJECTIVE = Objective((Term("image", 1.0, IMAGE_LOSSES["l1"]()), Term("mask", 1.0, MASK_LOSSES["mask_iou"]())))


class Watcher:
    def __init__(self, stop_after=None):
        self.records = []
        self.states = []
        self._stop_after = stop_after

    def on_step(self, record, model):
        self.records.append(record)
        self.states.append({path: value.detach().clone() for path, value in model.values().items()})
        if record.step == self._stop_after:
            raise KeyboardInterrupt


def problem(rates, steps=20, height=12, width=15):
    """A blob whose colour, size and position differ from its targets."""
    scene, cameras = blob_scene(), blob_cameras(5, height, width)
    views = blob_views(scene, cameras)
    ball = scene.objects["ball"]
    pose = ball.pose.clone()
    pose[:3, 3] = torch.tensor([0.2, 0.1, -0.1])
    ball = replace(ball, material=type(ball.material)(torch.full((3,), 0.5)), pose=pose, scale=torch.tensor(1.3))
    start = replace(scene, objects={"ball": ball})
    model = SceneModel(start, cameras, dict.fromkeys(rates))
    return model, views, FitOptimizer(model, rates, steps)


def run(rates, steps=20, batch_size=2, seed=0, objective=OBJECTIVE, render_views=render_blob, watcher=None, **more):
    model, views, optimizer = problem(rates, steps)
    observers = () if watcher is None else (watcher,)
    settings = FitSettings(steps, batch_size, seed)

    def render_step(scene, cameras, step):
        return render_views(scene, cameras)

    return fit(model, views, objective, optimizer, settings, render_step, observers, **more)


def values_of(result, paths):
    return {path: get_value(result.scene, result.cameras, path) for path in paths}


def assert_same(values, others):
    assert list(values) == list(others)
    for path, value in values.items():
        assert torch.equal(value, others[path]), path


def test_finds_colour_size_and_place():
    rates = {
        COLOR: ParamSettings(0.2, schedule=Cosine()),
        SCALE: ParamSettings(0.05, schedule=Cosine()),
        POSE: ParamSettings(0.04, schedule=Cosine()),
    }
    watcher = Watcher()
    result = run(rates, steps=60, watcher=watcher)
    assert (result.stop_reason, result.message, result.steps_done) == ("finished", None, 60)
    truth = blob_scene()
    found = result.scene.objects["ball"]
    assert (found.material.base_color - truth.objects["ball"].material.base_color).abs().max() < 0.03
    assert (found.pose[:3, 3]).norm() < 0.03
    assert abs(found.scale.item() - 1) < 0.05
    assert [record.step for record in watcher.records] == list(range(60))
    first, last = watcher.records[0], watcher.records[-1]
    assert last.total < 0.2 * first.total
    assert last.psnr_db > first.psnr_db + 10
    assert first.total == pytest.approx(sum(first.terms.values()), rel=1e-5)
    assert last.seconds <= result.seconds
    assert not found.scale.requires_grad


def test_the_record_of_the_first_step_is_the_starting_guess():
    watcher = Watcher()
    run({COLOR: ParamSettings(0.1)}, steps=1, batch_size=None, watcher=watcher)
    model, views, _ = problem({COLOR: ParamSettings(0.1)})
    assert watcher.records[0].psnr_db == pytest.approx(
        evaluate_views(model.snapshot()[0], views, render_blob)["psnr_db"]
    )


def test_the_time_of_a_fit_is_told_by_phases():
    result = run({COLOR: ParamSettings(0.1), VERTICES: ParamSettings(0.01)}, steps=5)
    assert tuple(result.phase_seconds) == PHASES
    assert all(seconds > 0 for seconds in result.phase_seconds.values())
    assert sum(result.phase_seconds.values()) <= result.seconds


def test_every_learnable_value_can_be_learned():
    rates = {
        path: ParamSettings(0.01)
        for path in (COLOR, SCALE, POSE, VERTICES, "background", "cameras.pose", "cameras.focal")
    }
    watcher = Watcher()
    result = run(rates, steps=20, batch_size=None, watcher=watcher)
    assert result.stop_reason == "finished"
    assert watcher.records[-1].total < watcher.records[0].total
    for path, value in values_of(result, rates).items():
        assert torch.isfinite(value).all()
        assert not torch.equal(value, watcher.states[0][path])


def test_the_same_bits_twice_with_one_and_two_threads():
    rates = {COLOR: ParamSettings(0.1), VERTICES: ParamSettings(0.01, start=1), "cameras.pose": ParamSettings(0.01)}
    smooth = Term("laplacian", 0.1, REGULARIZERS["laplacian"]())
    results = []
    threads = torch.get_num_threads()
    for n in (1, 1, 2):
        torch.set_num_threads(n)
        model, views, optimizer = problem(rates, 3, height=97, width=101)
        objective = Objective((*OBJECTIVE.terms, smooth))
        results.append(fit(model, views, objective, optimizer, FitSettings(3, 4, 3), render_blob))
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert_same(values_of(results[0], rates), values_of(other, rates))


def test_the_seed_matters_for_batches():
    rates = {COLOR: ParamSettings(0.1)}
    parts = [values_of(run(rates, steps=5, seed=seed), rates)[COLOR] for seed in (0, 1)]
    assert not torch.equal(*parts)
    whole = [values_of(run(rates, steps=5, batch_size=None, seed=seed), rates) for seed in (0, 1)]
    assert_same(*whole)


def test_a_late_value_waits():
    rates = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.03, start=3)}
    watcher = Watcher()
    run(rates, steps=5, watcher=watcher)
    start = problem(rates)[0].values()[SCALE].detach()
    moved = [not torch.equal(state[SCALE], start) for state in watcher.states]
    assert moved == [False, False, False, True, True]


def test_a_step_on_which_nothing_moves_is_harmless():
    watcher = Watcher()
    result = run({COLOR: ParamSettings(0.1, stop=2)}, steps=4, watcher=watcher)
    assert (result.stop_reason, result.steps_done, len(watcher.records)) == ("finished", 4, 4)
    assert_same(watcher.states[1], watcher.states[3])


def test_control_c_between_steps_keeps_the_step():
    rates = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.03)}
    watcher = Watcher(stop_after=4)
    result = run(rates, watcher=watcher)
    assert (result.stop_reason, result.message, result.steps_done) == ("interrupted", None, 5)
    assert_same(values_of(result, rates), watcher.states[4])


@pytest.mark.parametrize("at", [0, 1, 7])
def test_control_c_while_rendering_keeps_the_steps_before(at):
    rates = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.03)}
    calls = []

    def render_views(scene, cameras):
        calls.append(None)
        if len(calls) == at + 1:
            raise KeyboardInterrupt
        return render_blob(scene, cameras)

    watcher = Watcher()
    result = run(rates, render_views=render_views, watcher=watcher)
    assert (result.stop_reason, result.steps_done) == ("interrupted", at)
    start = {path: value.detach() for path, value in problem(rates)[0].values().items()}
    assert_same(values_of(result, rates), watcher.states[at - 1] if at else start)


@pytest.mark.parametrize("times, done", [(1, 3), (2, 2)])
def test_the_first_control_c_ends_the_step_and_the_second_leaves_it(times, done):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    calls = []

    def render_views(scene, cameras):
        calls.append(None)
        for _ in range(times if len(calls) == 3 else 0):
            signal.raise_signal(signal.SIGINT)
        return render_blob(scene, cameras)

    try:
        watcher = Watcher()
        result = run({COLOR: ParamSettings(0.1)}, render_views=render_views, watcher=watcher)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.stop_reason, result.steps_done) == ("interrupted", done)
    assert_same(values_of(result, {COLOR: None}), watcher.states[done - 1])


def test_control_c_in_the_middle_of_an_update_undoes_it(monkeypatch):
    rates = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.03)}
    steps = []
    whole_step = FitOptimizer.step

    def half_a_step(self, problem):
        steps.append(None)
        whole_step(self, problem)
        if len(steps) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(FitOptimizer, "step", half_a_step)
    watcher = Watcher()
    result = run(rates, watcher=watcher)
    assert (result.stop_reason, result.steps_done) == ("interrupted", 3)
    assert_same(values_of(result, rates), watcher.states[2])


class Fragile(Loss):
    """A loss that is NaN, or has a NaN gradient, in one view where the blob covers more than a limit."""

    def __init__(self, limit, broken_gradient=False):
        self._limit = limit
        self._broken_gradient = broken_gradient

    def __call__(self, comparison):
        coverage = comparison.output.rgba[..., 3].flatten(1).mean(1)
        values = []
        for name, value in zip(comparison.views.names, 1 - coverage, strict=True):
            if name == "view_003" and 1 - value > self._limit:
                # The square root of zero is finite, but its gradient is NaN.
                value = value + ((value - value.detach()).sqrt() if self._broken_gradient else math.nan)
            values.append(value)
        return torch.stack(values)


def grown(limit, **options):
    rates = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.2)}
    terms = (Term("image", 1.0, IMAGE_LOSSES["l2"]()), Term("size", 1.0, Fragile(limit, **options)))
    watcher = Watcher()
    result = run(rates, steps=40, batch_size=None, objective=Objective(terms), watcher=watcher)
    return result, watcher, rates


def test_a_loss_that_is_no_number_undoes_the_step_and_names_term_view_and_value():
    result, watcher, rates = grown(0.5)
    assert result.stop_reason == "non_finite"
    assert "loss term size is nan in view_003, after the last change of objects.ball.scale." in result.message
    assert "image" not in result.message
    assert COLOR not in result.message
    assert result.steps_done == len(watcher.records) - 1 >= 1
    assert f"step {len(watcher.records)}:" in result.message
    assert_same(values_of(result, rates), watcher.states[result.steps_done - 1])


def test_a_loss_that_is_no_number_at_the_start():
    result, watcher, rates = grown(0.0)
    assert (result.stop_reason, result.steps_done, watcher.records) == ("non_finite", 0, [])
    wanted = "step 0: loss term size is nan in view_003, from the start; it depends on objects.ball.scale."
    assert wanted in result.message
    start = {path: value.detach() for path, value in problem(rates)[0].values().items()}
    assert_same(values_of(result, rates), start)


def test_a_gradient_that_is_no_number_names_term_view_and_value():
    result, watcher, rates = grown(0.5, broken_gradient=True)
    assert result.stop_reason == "non_finite"
    assert "the gradient of objects.ball.scale is not finite, from loss term size in view_003." in result.message
    assert result.steps_done == len(watcher.records) >= 2
    assert_same(values_of(result, rates), watcher.states[-1])


def test_a_value_that_runs_away_is_undone_even_in_the_last_step():
    rates = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(1e3)}
    for steps in (2, 1):
        watcher = Watcher()
        size = Objective((Term("size", 1.0, Fragile(2.0)),))
        result = run({SCALE: rates[SCALE]}, steps=steps, objective=size, watcher=watcher)
        assert (result.stop_reason, result.steps_done) == ("non_finite", 0)
        assert "step 0 made objects.ball.scale non-finite" in result.message
        assert result.scene.objects["ball"].scale.item() == pytest.approx(1.3)


def test_a_value_without_influence_is_named_before_any_time_is_lost():
    calls = []

    def render_views(scene, cameras):
        calls.append(None)
        return render_blob(scene, cameras)

    with pytest.raises(FitError, match=r"lights\.key\.direction: no term of the loss depends on it"):
        run(
            {COLOR: ParamSettings(0.1), "lights.key.direction": ParamSettings(0.1, start=10)}, render_views=render_views
        )
    assert len(calls) == 1


def test_model_and_views_must_match():
    model, views, optimizer = problem({COLOR: ParamSettings(0.1)})
    with pytest.raises(ShapeError, match=r"one camera per view \(3\), got 5"):
        fit(model, views.select([0, 1, 2]), OBJECTIVE, optimizer, FitSettings(5), render_blob)


def test_missing_masks_are_found_before_the_first_step():
    model, views, optimizer = problem({COLOR: ParamSettings(0.1)})
    with pytest.raises(ConfigError, match="no masks"):
        fit(model, replace(views, masks=None), OBJECTIVE, optimizer, FitSettings(5), render_blob)


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 5, "batch_size": 0}])
def test_bad_settings_are_refused(options):
    with pytest.raises(ConfigError, match="must be at least 1, got 0"):
        FitSettings(**options)


def test_a_model_that_is_no_number_before_the_first_step_is_refused():
    model, views, optimizer = problem({COLOR: ParamSettings(0.1)})
    with torch.no_grad():
        model.latents[COLOR].fill_(math.nan)
    with pytest.raises(FitError, match=r"the value of objects\.ball\.material\.base_color is not finite at the start"):
        fit(model, views, OBJECTIVE, optimizer, FitSettings(5), render_blob)
