"""How certain learned numbers are: their standard deviations after a fit by Levenberg-Marquardt's method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diffrender.fit.least_squares import Covariance, LeastSquares
from diffrender.fit.loop import FitResult
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.losses.mask_losses import MaskL1
from diffrender.fit.losses.pointwise import L2
from diffrender.fit.objective import Loss, Objective, Term
from diffrender.fit.optimizer.levenberg_marquardt import LevenbergMarquardt
from diffrender.scene.quantity_kinds import CAMERA_POSES, POSE
from diffrender.setup.fit_setup import FitSetup

Deviations = dict[str, dict[str, Any]]


def find_deviations(setup: FitSetup, result: FitResult) -> Deviations:
    """Return the standard deviations of all learned values by path; none after other methods or another end.

    Each has `deviation`, numbers as the value's own, or, of a pose, `turn_deg` about the axes of what it maps to and
    `position` along them. None: the images do not determine it. They hold if what remains of the differences of
    colours (else of normals, depth or masks) is independent noise of one size in all pixels that the values change; for
    a scene that cannot look like its pictures they are too small.
    """
    model = setup.model
    is_last = result.returned_step == result.steps_done
    if not isinstance(setup.optimizer, LevenbergMarquardt) or result.stop_reason != "finished" or not is_last:
        return {}
    paths = list(model.latents)
    covariance = _problem(setup).covariance(paths)
    counts = [model.latents[path].numel() for path in paths]
    found: Deviations = {}
    for path, first in zip(paths, torch.tensor([0, *counts]).cumsum(0).tolist(), strict=False):
        latent = model.latents[path].detach()
        parametrization = model.parametrization(path)

        def value_of(numbers: Tensor, parametrization: Any = parametrization, latent: Tensor = latent) -> Tensor:
            return parametrization.value_of(numbers.view_as(latent))

        own = slice(first, first + latent.numel())
        part = Covariance(covariance.matrix[own, own], covariance.undetermined[own])
        value, derivative = value_of(latent.reshape(-1)), torch.func.jacfwd(value_of)(latent.reshape(-1)).double()
        if model.kind(path) in (POSE, CAMERA_POSES):
            found[path] = _of_pose(value.double(), derivative, part)
        else:
            found[path] = {"deviation": _numbers(part.deviations(derivative))}
    return found


def describe_deviation(deviation: Mapping[str, Any]) -> str:
    """Return standard deviations as words for the report."""
    words = {"deviation": "{}", "turn_deg": "{} degrees about the axes", "position": "{} along them"}
    parts = [words[key].format(_join(numbers)) for key, numbers in deviation.items()]
    return f"standard deviation {', '.join(parts)}"


def _join(numbers: Any) -> str:
    if isinstance(numbers, list):
        return ", ".join(_join(part) for part in numbers)
    return "not determined by the images" if numbers is None else format(numbers, ".2g")


def _problem(setup: FitSetup) -> LeastSquares:
    """Return the comparison of all views at the end of the fit, in squares."""
    compared = setup.objective.aovs()
    of_colors = any(isinstance(term.measure, Loss) and "color" in term.measure.aovs for term in setup.objective.terms)
    others = [name for name in compared if name != "color"]
    loss: Loss = L2() if of_colors else AovLoss(others[0], "l2") if others else _MaskSquares()

    def compare(values: Mapping[str, Tensor], index: Tensor) -> LossInputs:
        scene, cameras = setup.model.state_at(values)
        return LossInputs(setup.render_end(scene, cameras.select(index)), setup.fit_views.select(index))

    cameras = setup.fit_views.cameras
    shape = (len(cameras), cameras.height, cameras.width)
    squares = Objective((Term("image", 1.0, loss),))
    return LeastSquares(setup.model, squares, compare, lambda: math.nan, shape, 1.0, math.nan)


class _MaskSquares(MaskL1):
    """Mean over the image of (coverage - target mask)^2."""

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return the mean squared difference of each view [n]."""
        return comparison.mean(differences[0].square())


def _of_pose(value: Tensor, derivative: Tensor, covariance: Covariance) -> dict[str, Any]:
    """Return the deviations of poses [..., 4, 4] with their derivative [..., 4, 4, K]."""
    turning = torch.einsum("...ijk,...lj->...ilk", derivative[..., :3, :3, :], value[..., :3, :3])
    about = torch.stack([turning[..., 2, 1, :], turning[..., 0, 2, :], turning[..., 1, 0, :]], -2)
    return {
        "turn_deg": _numbers(torch.rad2deg(covariance.deviations(about))),
        "position": _numbers(covariance.deviations(derivative[..., :3, 3, :])),
    }


def _numbers(values: Tensor) -> Any:
    """Return a tensor as nested lists; None for an infinity."""
    if values.dim():
        return [_numbers(part) for part in values]
    number = float(values)
    return float(f"{number:.3g}") if math.isfinite(number) else None
