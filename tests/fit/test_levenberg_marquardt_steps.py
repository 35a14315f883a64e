"""The steps of Levenberg-Marquardt's method on objectives that are known."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.fit.optimizer.levenberg_marquardt import LevenbergMarquardt
from diffrender.fit.parametrization import CURVED
from diffrender.geometry.primitives import icosphere
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

COLOR = "objects.it.material.base_color"


def model_of_a_color(parametrization: str = "identity") -> SceneModel:
    """Three numbers; the images are not looked at."""
    scene = Scene({"it": Object(Mesh(*icosphere(1)), Unlit(torch.tensor([0.7, 0.4, 0.2])))})
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), height=8, width=8)
    return SceneModel(scene, cameras, {COLOR: parametrization})


class RoughValley:
    """A parabola about `wanted` over a narrow valley, the gains in which small jumps hide from the objective.

    It is 1 at its bottom; derivatives are those without jumps.
    """

    def __init__(self, model: SceneModel) -> None:
        self._latent = model.latents[COLOR]
        self.wanted = self._latent.detach().clone() + torch.tensor([0.3, -0.2, 0.1])
        self._matrix = torch.tensor([[1.0, 0.999, 0.0], [0.999, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
        self.before = 0.0

    def total(self) -> float:
        error = (self._latent.detach() - self.wanted).double()
        jumps = 2e-4 * torch.sin(1e4 * error.sum())
        return 1 + 0.5 * float(error @ self._matrix @ error) + float(jumps)

    def normal_matrix(self, paths: list[str]) -> Tensor:
        return self._matrix

    def differentiate(self) -> None:
        self.before = self.total()
        self._latent.grad = (self._matrix @ (self._latent.detach() - self.wanted).double()).float()


def test_the_last_steps_follow_the_gradient_where_jumps_hide_what_is_gained() -> None:
    model = model_of_a_color()
    problem = RoughValley(model)
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    for _ in range(12):
        problem.differentiate()
        optimizer.step(problem)
        if optimizer.converged:
            break
    assert optimizer.converged
    torch.testing.assert_close(model.latents[COLOR].detach(), problem.wanted, rtol=0, atol=1e-4)


class FarOutlines(RoughValley):
    """As far as outlines are apart, with the curvature that they have where they are a pixel apart, here .05."""

    def __init__(self, model: SceneModel, pixel: float = 0.05) -> None:
        super().__init__(model)
        self._matrix = torch.eye(3, dtype=torch.float64) / pixel

    def total(self) -> float:
        return 1e-6 + float((self._latent.detach() - self.wanted).norm())

    def differentiate(self) -> None:
        self.before = self.total()
        error = self._latent.detach() - self.wanted
        self._latent.grad = error / error.norm()


@pytest.mark.parametrize(("reach", "farthest"), [(10.0, 8 * 0.05), (0.05, 0.05 * 3**0.5)])
def test_a_step_that_gains_more_than_it_promised_is_doubled_as_far_as_the_reach(
    reach: float, farthest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of_a_color()
    monkeypatch.setattr(type(model.parametrization(COLOR)), "reach", reach)
    problem = FarOutlines(model)
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    apart = [float((model.latents[COLOR].detach() - problem.wanted).norm())]
    while apart[-1] > 0.05 and len(apart) < 12:
        problem.differentiate()
        optimizer.step(problem)
        apart.append(float((model.latents[COLOR].detach() - problem.wanted).norm()))
    steps = [before - after for before, after in pairwise(apart)]
    assert max(steps) == pytest.approx(farthest, rel=0.2)
    assert len(steps) <= (1 if reach > 1 else 6)  # of Gauss and Newton alone, 7


class Parabola(RoughValley):
    """A step gains what it promised."""

    tried = 0

    def total(self) -> float:
        self.tried += 1
        error = (self._latent.detach() - self.wanted).double()
        return 1e-6 + 0.5 * float(error @ self._matrix @ error)


def test_a_step_that_keeps_its_promise_is_not_doubled() -> None:
    model = model_of_a_color()
    problem = Parabola(model)
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    problem.differentiate()
    problem.tried = 0
    optimizer.step(problem)
    assert problem.tried == 1


def test_near_the_solution_no_step_is_doubled() -> None:
    """The image's own jumps may gain there what was not promised."""
    model = model_of_a_color()
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    worse = FarOutlines(model)
    worse.differentiate()
    worse.before *= 1000
    optimizer.step(worse)
    # A checkpoint knows that as well.
    other = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    other.load_state_dict(optimizer.state_dict())
    problem = FarOutlines(model, 0.01)
    problem.wanted = problem.wanted + 0.3
    start = model.latents[COLOR].detach().clone()
    problem.differentiate()
    other.step(problem)
    assert float((model.latents[COLOR].detach() - start).norm()) == pytest.approx(0.01, rel=0.01)


class Noisy(RoughValley):
    """The valley's bottom, where only steps of a thousandth gain anything: a little more than a thousandth."""

    def __init__(self, model: SceneModel) -> None:
        super().__init__(model)
        self._start = self._latent.detach().clone()
        self.wanted = self._start + torch.tensor([0.1, -0.1, 0.1])

    def total(self) -> float:
        moved = float((self._latent.detach() - self._start).norm())
        return 0.1 * (1 - (0.005 if 0 < moved < 1e-3 else 0) + (0.4 if moved > 1e-3 else 0))


@pytest.mark.parametrize("settled", [False, True])
def test_it_ends_where_twice_only_much_damped_steps_gain_little(settled: bool) -> None:
    model = model_of_a_color()
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    problem = Noisy(model)
    problem.differentiate()
    optimizer._settles, optimizer._left = settled, problem.before
    optimizer.step(problem)
    assert optimizer.damping > 1 and optimizer.converged == settled


class Stairs(RoughValley):
    """Where only steps of a thousandth gain anything, each half a percent of what is left."""

    def __init__(self, model: SceneModel) -> None:
        super().__init__(model)
        self._at, self._left = self._latent.detach().clone(), 0.1
        self.wanted = self._at + torch.tensor([0.1, -0.1, 0.1])

    def total(self) -> float:
        moved = float((self._latent.detach() - self._at).norm())
        return self._left * (1 - (0.005 if 0 < moved < 1e-3 else 0) + (0.4 if moved > 1e-3 else 0))

    def differentiate(self) -> None:
        self._left, self._at = self.total(), self._latent.detach().clone()
        super().differentiate()


def test_real_steps_that_are_hard_and_gain_little_end_it_too() -> None:
    model = model_of_a_color()
    optimizer, problem = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20), Stairs(model)
    for _ in range(10):
        problem.differentiate()
        optimizer.step(problem)
        if optimizer.converged:
            break
    assert optimizer.converged


def test_the_last_steps_stay_within_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of_a_color()
    monkeypatch.setattr(type(model.parametrization(COLOR)), "reach", 0.5)

    class Weak(RoughValley):
        def __init__(self, model: SceneModel) -> None:
            super().__init__(model)
            self._matrix = torch.diag(torch.tensor([1.0, 1.0, 1e-4], dtype=torch.float64))
            self.wanted = self._latent.detach() + torch.tensor([0.0, 0.0, 4.0])

        def total(self) -> float:
            error = (self._latent.detach() - self.wanted).double()
            return 1 + 0.5 * float(error @ self._matrix @ error)

    optimizer, problem = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20), Weak(model)
    for _ in range(4):
        before = model.latents[COLOR].detach().clone()
        problem.differentiate()
        optimizer.step(problem)
        assert float((model.latents[COLOR].detach() - before).abs().max()) <= 0.5 + 1e-6


class CurvedValley(RoughValley):
    """Rosenbrock's function, in the squares of which another 10 are left."""

    def __init__(self, model: SceneModel) -> None:
        super().__init__(model)
        self._latent.data.copy_(torch.tensor([-1.2, 1.0, 0.5]))
        self.wanted = torch.tensor([1.0, 1.0, 0.0])

    def _differences(self, at: Tensor) -> Tensor:
        return torch.stack([30 * (at[1] - at[0] ** 2), 1 - at[0], at[2]])

    def total(self) -> float:
        return 5 + 0.5 * float(self._differences(self._latent.detach().double()).square().sum())

    def normal_matrix(self, paths: list[str]) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(self._differences, self._latent.detach().double())
        return jacobian.T @ jacobian

    def differentiate(self) -> None:
        at = self._latent.detach().double().requires_grad_()
        (0.5 * self._differences(at).square().sum()).backward()
        self.before, self._latent.grad = self.total(), at.grad.float()


def test_little_steps_along_a_curved_valley_are_not_the_last() -> None:
    model = model_of_a_color()
    problem = CurvedValley(model)
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 100)
    for _ in range(100):
        problem.differentiate()
        optimizer.step(problem)
        if optimizer.converged:
            break
    assert optimizer.converged
    torch.testing.assert_close(model.latents[COLOR].detach(), problem.wanted, rtol=0, atol=1e-3)


def test_what_small_images_promised_last_does_not_end_the_fit_to_large_ones() -> None:
    model = model_of_a_color()
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    small, large = RoughValley(model), RoughValley(model)
    model.latents[COLOR].data.copy_(small.wanted + torch.tensor([1e-3, -5e-4, 5e-4]))
    small.differentiate()
    optimizer.step(small)  # one of the last: it is there, and the next would promise nothing
    assert not optimizer.converged
    # Larger images have their solution a little aside, and more noise.
    large.wanted += torch.tensor([0.02, -0.02, 0.0])
    known = large.total
    large.total = lambda: known() + 1  # type: ignore[method-assign]
    large.differentiate()
    optimizer.step(large)
    torch.testing.assert_close(model.latents[COLOR].detach(), large.wanted, rtol=0, atol=1e-5)
    assert not optimizer.converged


@pytest.mark.parametrize("total", [torch.nan, torch.inf])
def test_a_last_step_to_where_nothing_can_be_told_is_taken_back(total: float) -> None:
    model = model_of_a_color()
    problem = RoughValley(model)
    near = problem.wanted + torch.tensor([0.02, -0.01, 0.01])  # so near that the first step is one of the last
    model.latents[COLOR].data.copy_(near)
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    problem.differentiate()
    known, calls = problem.total, []

    def total_once() -> float:
        calls.append(model.latents[COLOR].detach().clone())
        return total if torch.allclose(calls[-1], problem.wanted, rtol=0, atol=1e-5) else known()

    problem.total = total_once  # type: ignore[method-assign]
    optimizer.step(problem)
    # The whole step was tried, and left; a damped one, or none, follows.
    torch.testing.assert_close(calls[0], problem.wanted, rtol=0, atol=1e-5)
    assert not torch.allclose(model.latents[COLOR].detach(), calls[0], rtol=0, atol=1e-6)
    assert len(calls) > 1 or torch.equal(model.latents[COLOR].detach(), near)


@pytest.mark.parametrize(("name", "reach"), [("unit_interval", CURVED), ("positive", CURVED), ("identity", 10.0)])
def test_a_logarithm_goes_no_farther_than_its_derivative_can_tell(name: str, reach: float) -> None:
    model = model_of_a_color(name)
    problem = RoughValley(model)
    start = model.latents[COLOR].detach().clone()
    problem.wanted = start + torch.tensor([10.0, 10.0, 0.5])
    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 20)
    problem.differentiate()
    optimizer.step(problem)
    moved = model.latents[COLOR].detach() - start
    assert float(moved.abs().max()) == pytest.approx(reach, rel=0.05)
    assert float(moved[2]) == pytest.approx(0.5, rel=0.05)
