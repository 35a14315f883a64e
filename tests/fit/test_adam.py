import pytest
import torch

from diffrender.errors import ConfigError
from diffrender.fit.optimizer.adam import ADAM_VARIANTS, AdamSettings, AdamState, adam_step
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.geometry.rotations import axis_angle_to_matrix


def moved(name, gradients, factor=None, betas=(0.9, 0.999), lr=0.1):
    latent = torch.zeros_like(gradients[0])
    moments = AdamState.fresh(name, latent)
    for gradient in gradients:
        adam_step(latent, gradient, moments, AdamSettings(name, lr, betas, factor))
    return latent


def random_gradients(n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(20, 3, generator=generator, dtype=torch.float64) for _ in range(n)]


def by_hand(gradients, reduce, betas=(0.9, 0.999), lr=0.1):
    latent = mean = square = torch.zeros_like(gradients[0])
    for t, gradient in enumerate(gradients, 1):
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient**2
        latent = latent - lr * (mean / (1 - betas[0] ** t)) / (reduce(square) / (1 - betas[1] ** t)).sqrt()
    return latent


REDUCTIONS = {
    "adam": lambda square: square,
    "vector_adam": lambda square: square.sum(-1, keepdim=True),
    "adam_uniform": lambda square: square.max(),
}


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.8)])
@pytest.mark.parametrize("name", ADAM_VARIANTS)
def test_the_formula(name, betas):
    gradients = random_gradients()
    expected = by_hand(gradients, REDUCTIONS[name], betas)
    torch.testing.assert_close(moved(name, gradients, betas=betas), expected, rtol=1e-6, atol=1e-9)


def test_adam_is_the_one_of_torch():
    latent = torch.zeros(20, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([latent], lr=0.1, eps=1e-12)
    for gradient in random_gradients():
        latent.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(moved("adam", random_gradients()), latent.detach())


@pytest.mark.parametrize("name", ["vector_adam", "adam_uniform"])
def test_the_first_step_has_the_direction_of_the_gradient(name):
    (gradient,) = random_gradients(1)
    step = -moved(name, [gradient])
    torch.testing.assert_close(
        torch.nn.functional.normalize(step, dim=1), torch.nn.functional.normalize(gradient, dim=1)
    )
    length = step.norm(dim=1) if name == "vector_adam" else step.abs().max()
    torch.testing.assert_close(length, torch.full_like(length, 0.1))


def test_vector_adam_turns_with_the_object():
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.7]).double())
    gradients = random_gradients()
    turned = moved("vector_adam", [gradient @ turn for gradient in gradients])
    torch.testing.assert_close(turned, moved("vector_adam", gradients) @ turn)


@pytest.mark.parametrize("name", ADAM_VARIANTS)
def test_a_factor_multiplies_the_step_of_each_row(name):
    gradients = random_gradients()
    factor = torch.rand(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(moved(name, gradients, factor), moved(name, gradients) * factor)


@pytest.mark.parametrize("name", ADAM_VARIANTS)
def test_numbers_without_an_axis(name):
    gradient = torch.tensor(-3.0, dtype=torch.float64)
    assert float(moved(name, [gradient])) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ADAM_VARIANTS)
def test_nothing_moves_where_no_gradient_is(name):
    assert torch.equal(moved(name, [torch.zeros(4, 3)] * 3), torch.zeros(4, 3))


def test_wrong_options():
    with pytest.raises(ConfigError, match="there is no optimizer 'sgd'; choose from adam, vector_adam, adam_uniform"):
        ParamSettings(0.1, optimizer="sgd")
    for betas in ((1.0, 0.9), (0.9, -0.1)):
        with pytest.raises(ConfigError, match="betas must be in"):
            ParamSettings(0.1, betas=betas)
