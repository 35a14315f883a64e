"""How certain learned numbers are: their standard deviations after a fit by Levenberg-Marquardt's method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.fit.least_squares import Covariance, LeastSquares
from diffrender.fit.loop import FitResult
from diffrender.fit.loss_inputs import LossInputs, cameras_to_compare
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.losses.mask_losses import MaskL1
from diffrender.fit.losses.pointwise import L2
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Loss, Objective, Term
from diffrender.fit.optimizer.levenberg_marquardt import MOST_OF_MATRIX, LevenbergMarquardt
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.render.aovs import channels_of
from diffrender.render.supersample import render_supersampled
from diffrender.scene.quantity_kinds import CAMERA_POSES, POSE
from diffrender.setup.fit_setup import FitSetup

# Along each side of a pixel, for exact images.
SAMPLES = 16
Deviations = dict[str, dict[str, Any]]
# The most numbers whose covariances are written: as a table of that size is still read.
MOST_OF_COVARIANCE = 100


class Posterior(NamedTuple):
    """What a fit by squares knows of the learned numbers, taken as normally distributed: the covariance of latents.

    parts: by path, the columns of its latent. It holds if what remains of the differences of colours (else of normals,
    depth or masks) is independent noise of one size in all pixels that the values change. How far the error of our
    images moves what is found is a deviation as well, and so is how far it is from where squares are least; for a scene
    that cannot look like its pictures it is too narrow. It knows nothing of priors (`pull`).
    """

    model: SceneModel
    covariance: Covariance
    parts: Mapping[str, slice]

    def of(self, path: str) -> tuple[Tensor, Tensor]:
        """Return the value at `path` [...] and its derivative [..., L] by its latent of L numbers."""
        latent, parametrization = self.model.latents[path].detach(), self.model.parametrization(path)

        def value_of(numbers: Tensor) -> Tensor:
            return parametrization.value_of(numbers.view_as(latent))

        flat = latent.reshape(-1)
        return value_of(flat), torch.func.jacfwd(value_of)(flat).double()

    def within(self, paths: Sequence[str]) -> Covariance:
        """Return the covariance of the latents at `paths` alone, whatever the others are."""
        device = self.covariance.matrix.device
        index = torch.cat(
            [torch.arange(self.parts[path].start, self.parts[path].stop, device=device) for path in paths]
        )
        return Covariance(self.covariance.matrix[index][:, index], self.covariance.undetermined[index])

    def deviations_of(self, path: str) -> Tensor:
        """Return the standard deviations of the value at `path`, of its shape; infinite where not determined.

        They are where an end of its range holds a number.
        """
        found = self.within([path]).deviations(self.of(path)[1])
        return found.masked_fill(self.is_at_end(path), math.inf)

    def is_at_end(self, path: str) -> Tensor:
        """Return whether each number of the value at `path` is at an end of its range."""
        value, method = self.of(path)[0], self.model.parametrization(path)
        return method.is_at_end(value) if isinstance(method, Bounded) else torch.zeros_like(value, dtype=torch.bool)

    def covariance_of(self, paths: Sequence[str]) -> Tensor | None:
        """Return the covariance [K, K] of all numbers of the values at `paths`; None if one is not determined."""
        within = self.within(paths)
        rows = []
        for path in paths:
            value, derivative = self.of(path)
            rows.append(derivative.reshape(value.numel(), -1))
        derivative = torch.block_diag(*rows)
        is_held = any(bool(self.is_at_end(path).any()) for path in paths)
        if is_held or not bool(torch.isfinite(within.deviations(derivative)).all()):
            return None
        return derivative @ within.matrix @ derivative.T


def find_posterior(setup: FitSetup, result: FitResult) -> Posterior | None:
    """Return what the fit knows of all that it learned; None after other methods or another end, or of many numbers."""
    model = setup.model
    is_last = result.returned_step == result.steps_done
    if not isinstance(setup.optimizer, LevenbergMarquardt) or result.stop_reason != "finished" or not is_last:
        return None
    if sum(latent.numel() for latent in model.latents.values()) > MOST_OF_MATRIX:
        return None
    paths = list(model.latents)
    ends = list(itertools.accumulate(model.latents[path].numel() for path in paths))
    parts = {path: slice(first, end) for path, first, end in zip(paths, [0, *ends], ends, strict=False)}
    squares = _squares(setup)
    covariance = _problem(setup, squares).covariance(paths, _gradients(setup, squares, paths))
    return Posterior(model, covariance, parts)


def find_deviations(posterior: Posterior | None) -> Deviations:
    """Return the standard deviations of all learned values by path; none without a posterior.

    Each has `deviation`, numbers as the value's own, or, of a pose, `turn_deg` about the axes of what it maps to and
    `position` along them. None: the images do not determine it. `at_end`: a number is at an end of its range, which
    holds it: it has none.
    """
    found: Deviations = {}
    for path in () if posterior is None else posterior.parts:
        if posterior.model.kind(path) in (POSE, CAMERA_POSES):
            covariance, (about, along) = posterior.within([path]), _motions(*posterior.of(path))
            found[path] = {
                "turn_deg": _numbers(covariance.deviations(about)),
                "position": _numbers(covariance.deviations(along)),
            }
        else:
            found[path] = {"deviation": _numbers(posterior.deviations_of(path))}
            if bool(posterior.is_at_end(path).any()):
                found[path]["at_end"] = True
    return found


def find_covariance(posterior: Posterior | None) -> dict[str, Any]:
    """Return the covariance of all learned numbers as `{of: K names, matrix: K rows}`; {} if there are too many.

    Rows are named as objects.it.pose.turn_deg.x, cameras.pose.0.position.z or program.turn.2; numbers and units are
    those of `find_deviations`. None: the images do not determine one of the two.
    """
    if posterior is None:
        return {}
    names, blocks, is_held = [], [], []
    for path in posterior.parts:
        value, derivative = posterior.of(path)
        is_pose = posterior.model.kind(path) in (POSE, CAMERA_POSES)
        rows = torch.stack(_motions(value, derivative), -3) if is_pose else derivative
        words: list[Sequence[Any]] = [range(size) for size in rows.shape[:-1]]
        if is_pose:
            words[-2:] = ("turn_deg", "position"), "xyz"
        names += [".".join(map(str, (path, *each))) for each in itertools.product(*words)]
        blocks.append(rows.reshape(-1, rows.shape[-1]))
        held = rows.new_zeros(len(blocks[-1]), dtype=torch.bool) if is_pose else posterior.is_at_end(path)
        is_held.append(held.reshape(-1))
        if len(names) > MOST_OF_COVARIANCE:
            return {}
    derivative = torch.block_diag(*blocks)
    matrix = derivative @ posterior.covariance.matrix @ derivative.T
    is_known = (torch.isfinite(posterior.covariance.deviations(derivative)) & ~torch.cat(is_held)).tolist()
    return {
        "of": names,
        "matrix": [
            [float(f"{number:.9g}") if known and other else None for number, other in zip(row, is_known, strict=True)]
            for row, known in zip(matrix.tolist(), is_known, strict=True)
        ],
    }


def describe_deviation(deviation: Mapping[str, Any]) -> str:
    """Return standard deviations as words for the report."""
    words = {"deviation": "{}", "turn_deg": "{} degrees about the axes", "position": "{} along them"}
    if deviation.get("at_end"):
        words["at_end"] = "as far as it is not at an end of its range"
    if deviation == {"deviation": None, "at_end": True}:
        return "no standard deviation: it is at an end of its range"
    parts = [words[key].format(_join(numbers)) for key, numbers in deviation.items()]
    return f"standard deviation {', '.join(parts)}"


def _join(numbers: Any) -> str:
    if isinstance(numbers, list):
        return ", ".join(_join(part) for part in numbers)
    return "not determined by the images" if numbers is None else format(numbers, ".2g")


def _squares(setup: FitSetup) -> Objective:
    """Return what compares views at the end of the fit, in squares."""
    compared = setup.objective.aovs()
    losses = [term.measure for term in setup.objective.terms if isinstance(term.measure, Loss)]
    of_colors = [loss for loss in losses if "color" in loss.aovs]
    others = [name for name in compared if name != "color"]
    loss: Loss = (
        L2(getattr(of_colors[0], "space", "srgb"))
        if of_colors
        else AovLoss(others[0], "l2")
        if others
        else _MaskSquares()
    )

    return Objective((Term("image", 1.0, loss),))


def _problem(setup: FitSetup, squares: Objective) -> LeastSquares:
    """Return the comparison of all views at the end of the fit."""

    def compare(values: Mapping[str, Tensor], index: Tensor) -> LossInputs:
        scene, cameras = setup.model.state_at(values)
        views = setup.fit_views.select(index)
        return LossInputs(setup.render_end(scene, cameras_to_compare(cameras.select(index), views)), views)

    cameras = setup.fit_views.cameras
    shape = (len(cameras), cameras.height, cameras.width)
    return LeastSquares(setup.model, squares, compare, lambda: math.nan, shape, 1.0, math.nan)


def _gradients(setup: FitSetup, squares: Objective, paths: Sequence[str]) -> list[Tensor]:
    """Return the gradients [K] by the latents of the squares of what images differ by from the targets, and from exact.

    Of a fit that ended where squares are least, the first is 0: not where other terms, priors or jumps of the image
    hold it. What is left of one to exact pictures, which cameras take, is the error of our images: pixels that several
    edges meet in, and those whose inside is one sample.
    """
    latents = [setup.model.latents[path] for path in paths]
    like = torch.zeros(sum(latent.numel() for latent in latents), dtype=torch.float64, device=latents[0].device)
    totals, aovs = [like.clone(), like.clone()], setup.objective.aovs()
    for index in torch.arange(len(setup.fit_views), device="cpu").split(1):
        scene, cameras = setup.model.state()
        views = setup.fit_views.select(index)
        seen = cameras_to_compare(cameras.select(index), views)
        image, exact = setup.render_end(scene, seen), render_supersampled(scene, seen, SAMPLES, aovs=aovs)
        known = {name: exact[..., channels_of(aovs, name)] for name in aovs}
        of_exact = replace(
            views,
            images=known.get("color", views.images),
            masks=None if views.masks is None else exact[..., -1],
            aovs={name: known[name] for name in views.aovs},
        )
        for total, targets in zip(totals, (views, of_exact), strict=True):
            cost = squares(LossInputs(image, targets), scene).total / len(setup.fit_views)
            parts = torch.autograd.grad(cost, latents, retain_graph=True, allow_unused=True, materialize_grads=True)
            total += torch.cat([part.reshape(-1).double() for part in parts])
    return totals


class _MaskSquares(MaskL1):
    """Mean over the image of (coverage - target mask)^2."""

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return the mean squared difference of each view [n]."""
        return comparison.mean(differences[0].square())


def _motions(value: Tensor, derivative: Tensor) -> tuple[Tensor, Tensor]:
    """Return derivatives of poses [..., 4, 4] as turns about the axes in degrees and shifts along them: [..., 3, L].

    derivative: [..., 4, 4, L], of the poses by numbers.
    """
    turning = torch.einsum("...ijk,...lj->...ilk", derivative[..., :3, :3, :], value.double()[..., :3, :3])
    about = torch.stack([turning[..., 2, 1, :], turning[..., 0, 2, :], turning[..., 1, 0, :]], -2)
    return torch.rad2deg(about), derivative[..., :3, 3, :]


def _numbers(values: Tensor) -> Any:
    """Return a tensor as nested lists; None for an infinity."""
    if values.dim():
        return [_numbers(part) for part in values]
    number = float(values)
    return float(f"{number:.3g}") if math.isfinite(number) else None
