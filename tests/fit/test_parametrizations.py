import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.parametrizations.pose import Pose
from diffrender.fit.parametrizations.unit_interval import UnitInterval
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.mesh import Mesh

BALL = icosphere(1)
BALL = Mesh(BALL.vertices.double(), BALL.faces)


def made(name, value=None):
    """The parametrisation of the ball's vertices, or of a value that starts at `value`."""
    parametrization = PARAMETRIZATIONS[name]().bind(BALL)
    return parametrization if value is None else parametrization.starting_at(value)


def random_poses(generator):
    turn = axis_angle_to_matrix(torch.randn(40, 3, generator=generator, dtype=torch.float64) * 3)
    return make_rigid(turn, torch.randn(40, 3, generator=generator, dtype=torch.float64) * 10)


def random_balances(generator):
    log = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    log = log - log.mean(0)
    return (log - log.mean(1, keepdim=True)).exp()


def is_balanced(gains):
    """The gains of each picture, and of each channel, have a geometric mean of 1."""
    log = gains.log()
    slack = 1e-5 * (1 + log.abs().max())
    return (gains > 0).all() & (log.mean(0).abs() < slack).all() & (log.mean(1).abs() < slack).all()


def are_poses(value):
    return (value[:, :3, :3] @ value[:, :3, :3].mT - torch.eye(3)).abs() < 1e-5


# Name -> values inside the domain, and a predicate for tensors in the domain.
DOMAINS = {
    "identity": (lambda g: torch.randn(40, 3, generator=g, dtype=torch.float64) * 100, torch.isfinite),
    "positive": (lambda g: torch.randn(40, generator=g, dtype=torch.float64).mul(5).exp(), lambda v: v > 0),
    "unit_interval": (
        lambda g: torch.rand(40, 3, generator=g, dtype=torch.float64) * 0.998 + 0.001,
        lambda v: (v >= 0) & (v <= 1),
    ),
    "direction": (
        lambda g: torch.nn.functional.normalize(torch.randn(40, 3, generator=g, dtype=torch.float64), dim=-1),
        lambda v: (v.norm(dim=-1) - 1).abs() < 1e-5,
    ),
    "large_steps": (lambda g: torch.randn(42, 3, generator=g, dtype=torch.float64) * 100, torch.isfinite),
    "zero_mean": (
        lambda g: (lambda v: v - v.mean())(torch.randn(40, generator=g, dtype=torch.float64)),
        lambda v: v.mean().abs() < 1e-5 * (1 + v.abs().max()),
    ),
    "balanced": (random_balances, is_balanced),
    "pose": (random_poses, are_poses),
    "camera_poses": (random_poses, are_poses),
}
OUTSIDE = {
    "identity": [torch.tensor([0.0, float("nan")])],
    "positive": [torch.tensor(0.0), torch.tensor([1.0, -1.0]), torch.tensor(float("inf")), torch.tensor(float("nan"))],
    "unit_interval": [torch.tensor([-0.1, 0.5]), torch.tensor(1.1), torch.tensor(float("nan"))],
    "direction": [torch.zeros(3), torch.ones(()), torch.ones(5, 1), torch.tensor([1.0, float("nan"), 0.0])],
    "large_steps": [torch.zeros(41, 3), torch.full((42, 3), float("nan")), torch.zeros(42, 2)],
    "zero_mean": [torch.zeros(4, 3), torch.tensor([0.0, float("nan")]), torch.tensor(1.0)],
    "balanced": [torch.ones(3), torch.tensor([[1.0, 0.0, 1.0]]), torch.full((2, 3), float("inf"))],
    "pose": [
        2 * torch.eye(4),
        torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0])),
        torch.eye(4).index_fill(0, torch.tensor([3]), 0.5),
        torch.full((4, 4), float("nan")),
        torch.eye(3),
    ],
    "camera_poses": [
        2 * torch.eye(4).expand(3, 4, 4),
        torch.full((3, 4, 4), float("nan")),
        torch.eye(4),
    ],
}


def test_every_parametrisation_is_tested():
    assert set(PARAMETRIZATIONS) == set(DOMAINS) == set(OUTSIDE)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_values_round_trip(name):
    value = DOMAINS[name][0](torch.Generator().manual_seed(0))
    parametrization = made(name, value)
    torch.testing.assert_close(parametrization.value_of(parametrization.latent_of(value)), value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_any_latent_gives_a_value_inside_the_domain(name):
    generator = torch.Generator().manual_seed(1)
    start = DOMAINS[name][0](generator)
    parametrization = made(name, start)
    shape = parametrization.latent_of(start).shape
    for size in (1e-3, 1.0, 20.0):
        latent = (torch.randn(shape, generator=generator) * size).requires_grad_()
        value = parametrization.value_of(latent)
        assert DOMAINS[name][1](value).all()
        (gradient,) = torch.autograd.grad((value * torch.randn(value.shape, generator=generator)).sum(), latent)
        assert torch.isfinite(gradient).all()
        assert (gradient != 0).any()


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_gradient(name):
    start = DOMAINS[name][0](torch.Generator().manual_seed(2))
    parametrization = made(name, start)
    latent = parametrization.latent_of(start).requires_grad_()
    assert torch.autograd.gradcheck(parametrization.value_of, latent)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_tangents(name):
    start = DOMAINS[name][0](torch.Generator().manual_seed(2))
    parametrization = made(name, start)
    latent = parametrization.latent_of(start)
    by_tangents, by_gradients = (
        way(parametrization.value_of)(latent) for way in (torch.func.jacfwd, torch.func.jacrev)
    )
    torch.testing.assert_close(by_tangents, by_gradients)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_latents_share_no_memory_with_values(name):
    value = DOMAINS[name][0](torch.Generator().manual_seed(3))
    before = value.clone()
    made(name).latent_of(value).fill_(7.0)
    assert torch.equal(value, before)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in OUTSIDE.items() for value in values])
def test_values_outside_the_domain_are_refused(name, value):
    with pytest.raises(ShapeError, match=name):
        made(name).latent_of(value)


def test_the_ends_of_the_unit_interval_can_still_move():
    ends = torch.tensor([0.0, 1.0, 1.000001])
    latent = UnitInterval().latent_of(ends).requires_grad_()
    value = UnitInterval().value_of(latent)
    torch.testing.assert_close(value.detach(), torch.tensor([0.001, 0.999, 0.999]), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(value.sum(), latent)
    assert (gradient > 5e-4).all()


def test_the_length_of_a_quaternion_means_nothing():
    latent = Pose().latent_of(random_poses(torch.Generator().manual_seed(4)))
    longer = torch.cat([latent[:, :4] * 3.5, latent[:, 4:]], 1)
    torch.testing.assert_close(Pose().value_of(longer), Pose().value_of(latent))


def test_a_pose_with_the_digits_of_a_file_is_accepted():
    rounded = (random_poses(torch.Generator().manual_seed(5)) * 1e4).round() / 1e4
    torch.testing.assert_close(Pose().value_of(Pose().latent_of(rounded)), rounded, rtol=0, atol=3e-4)


def test_logistic_rounds_alike_on_any_number_of_threads():
    latent = torch.randn(122_413, generator=torch.Generator().manual_seed(6)) * 3
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        results.append(UnitInterval().value_of(latent))
    torch.set_num_threads(threads)
    assert torch.equal(*results)
