"""Checks of the values that were learned: those that never moved, ended at a bound, or took over from others."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffrender.app.program_results import program_run
from diffrender.app.verdict.evidence import Course
from diffrender.app.verdict.reason import Reason
from diffrender.evaluate.exposure import EXPOSURE, RESPONSE, VIGNETTING, WHITE_BALANCE
from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.fit.program import ROOT, written
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.response import undo_response
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.parameter_paths import ParameterPath, get_value
from diffrender.scene.quantity_kinds import (
    ANGLE,
    CAMERA_POSES,
    COLOR,
    NUMBER,
    POSE,
    POSITION,
    RADIANCE,
    SHARE,
    VERTICES,
    Kind,
)

# Of how far a parameter was from the true one at the start, and of that; shipped scenes end within a hundredth of both.
MISSED, MISSED_OF_TRUE = 0.25, 0.02
TURN = 2 * math.pi
# Relative to the largest entry of the value; lengths to the size of the scene.
STILL = 1e-4
# Shares are at a bound within this; albedos of lit surfaces are seldom near 1, not even those of snow.
BOUND, MOST_WHITE, MOST_AT_BOUND = 0.01, 0.3, 0.95
FADED, BLOWN = 1e-3, 1e3
# Stops beyond the spread of the pictures' own brightness; ratio of channels.
EXTRA_STOPS, CAST = 1.0, 3.0
# Of lenses, which lose half of the light in their corners or more, and gain none; ratio of slopes to those of sRGB.
LEAST_PASSED, MOST_PASSED, STEEPEST = 0.15, 1.15, 4.0


def find_still_values(course: Course) -> Reason | None:
    """Values that are where they began."""
    vertices = torch.cat([item.vertices_w() for item in course.case.setup.scene.objects.values()])
    size = float((vertices.amax(0) - vertices.amin(0)).max())
    kind = course.case.setup.model.kind
    still = [path for path, before, after in _changes(course) if _is_still(kind(path), before, after, size)]
    if not still or course.result.returned_step == 0:
        return None
    has_rates = course.case.setup.config.optimize.method == "adam"
    faster = f"Raise optimize.{still[0]}.lr, let it" if has_rates else f"Let optimize.{still[0]}"
    return Reason(
        "never_moved",
        f"{', '.join(still)} did not move",
        f"{faster} begin earlier (start), or remove it if the images do not show it",
    )


def find_missed_truth(course: Course) -> Reason | None:
    """Parameters of a program that ended far from the true ones, where targets were made with them."""
    run = program_run(course.case.setup, course.result)
    missed = []
    for name, true in run.true.items():
        found, start = run.found[name], run.start[name]
        if not true.shape == found.shape == start.shape or f"{ROOT}.{name}" not in course.case.setup.model.latents:
            continue
        before, apart = (start - true).abs().max(), (found - true).abs()
        # Angles may have gone all around; what is larger than a turn is none.
        is_angle = max(float(start.abs().max()), float(true.abs().max())) <= TURN
        after = (apart - TURN * (apart / TURN).round() * is_angle).abs().max()
        enough = max(MISSED * before, MISSED_OF_TRUE * true.abs().max())
        if after > enough > 0:
            missed.append(f"{name} is {written(found)}, and was {written(true)} in the pictures")
    if not missed or course.result.returned_step == 0:
        return None
    return Reason(
        "missed_truth",
        "; ".join(missed),
        "Start nearer, with wide edges (render.edges: {type: soft, sigma: 6}), with larger first images"
        " (optimize.resolution), or for more steps; pictures may also tell one parameter from another badly",
    )


def find_values_at_bounds(course: Course) -> Reason | None:
    """Values that ended at an end of their range."""
    found, paths = [], []
    for path, before, after in _changes(course):
        words = _describe_bound(course, path, before, after)
        if words:
            found.append(f"{path} {words}")
            paths.append(path)
    if not found:
        return None
    return Reason(
        "at_bound",
        f"{'; '.join(found)}",
        "Widen the range (program.parameters.<name>.range), or check what is fixed: it may make up for that"
        if all(path.startswith(f"{ROOT}.") for path in paths)
        else "It makes up for something else that is wrong: check the brightness of lights and images, and what is"
        " fixed",
    )


def find_runaway_exposures(course: Course) -> Reason | None:
    """Exposures or white balances that explain what lights or materials should."""
    gains = course.case.setup.learned_gains()
    if EXPOSURE in gains:
        stops = get_value(course.result.scene, course.result.cameras, EXPOSURE)
        views, response = course.case.views, course.result.cameras.response
        light = views.images if response is None else undo_response(views.images, response.to(views.images.device))
        own = mean_per_view(light, views.weights).clamp_min(1e-6).log2()
        spread, expected = (float(each.max() - each.min()) for each in (stops.detach().cpu(), own))
        if spread > expected + EXTRA_STOPS:
            return Reason(
                "exposures_ate_light",
                f"The exposures of the views spread over {spread:.1f} stops, their images' brightness over"
                f" {expected:.1f}: they explain what light and material should",
                "Remove cameras.exposure from optimize, or lower its lr and let lights move first (start)",
            )
    if WHITE_BALANCE in gains:
        factors = get_value(course.result.scene, course.result.cameras, WHITE_BALANCE).detach().cpu()
        ratio = float((factors.amax(1) / factors.amin(1)).max())
        if ratio > CAST:
            return Reason(
                "exposures_ate_light",
                f"White balances differ by a factor of {ratio:.1f} between channels: they explain what light should",
                "Remove cameras.white_balance from optimize, or lower its lr and let lights move first (start)",
            )
    return None


def find_odd_lenses(course: Course) -> Reason | None:
    """Vignetting or a response beyond those of cameras, which explain what light or materials should."""
    learned, cameras = course.case.setup.model.latents, course.result.cameras
    passed = cameras.vignetting_factors()
    if VIGNETTING in learned and passed is not None:
        weights = course.case.views.weights
        seen = passed.detach().cpu() if weights is None else passed.detach().cpu()[weights.cpu() > 0]
        low, high = float(seen.min()), float(seen.max())
        if low < LEAST_PASSED or high > MOST_PASSED:
            return Reason(
                "odd_vignetting",
                f"The vignetting of the lens passes {low:.2f} to {high:.2f} of the light: it explains what light and"
                " material should, or what is in no mask",
                "Remove cameras.vignetting from optimize, or raise its pull",
            )
    if RESPONSE in learned and cameras.response is not None:
        ends = torch.nn.functional.pad(cameras.response.detach().cpu(), (1, 0))
        slopes = torch.nn.functional.pad(ends, (0, 1), value=1.0).diff(dim=1) * ends.shape[1]
        low, high = float(slopes.min()), float(slopes.max())
        if low < 1 / STEEPEST or high > STEEPEST:
            return Reason(
                "odd_response",
                f"The response has slopes of {low:.2g} to {high:.2g} of the sRGB curve's: it explains what light and"
                " material should",
                "Remove cameras.response from optimize, or raise its pull; it needs light or exposures that are known",
            )
    return None


def _changes(course: Course) -> list[tuple[str, Tensor, Tensor]]:
    """Return (path, before, after) of the learned values that still have the same shape."""
    setup, result = course.case.setup, course.result
    found = []
    for path in setup.config.optimize.parameters():
        before = get_value(setup.scene, setup.fit_views.cameras, path).detach().cpu().double()
        after = get_value(result.scene, result.cameras, path).detach().cpu().double()
        if before.shape == after.shape:
            found.append((path, before, after))
    return found


def _is_still(kind: Kind, before: Tensor, after: Tensor, size: float) -> bool:
    unit = torch.ones_like(before)
    if kind in (VERTICES, POSITION):
        unit *= size
    elif kind in (POSE, CAMERA_POSES):
        unit[..., :3, 3] = size
    before, after = before / unit, after / unit
    return float((after - before).abs().max()) <= STILL * max(float(before.abs().max()), STILL)


def _describe_bound(course: Course, path: str, before: Tensor, after: Tensor) -> str:
    """Return where a value ended if that is a bound which most of it was not at before, else ""."""
    setup = course.case.setup
    kind: Kind = setup.model.kind(path)
    parts = ParameterPath.parse(setup.model.full_path(path))
    if kind == COLOR and parts.root == "objects":
        if isinstance(setup.scene.objects[parts.name].material, Unlit):
            return ""
        shares = [float((srgb_from_linear(each) > 1 - BOUND).double().mean()) for each in (before, after)]
        return f"ended at 1 in {shares[1]:.0%} of its numbers" if shares[1] > MOST_WHITE > shares[0] else ""
    if kind == SHARE and parts.field == "roughness":
        shares = [float(((each < BOUND) | (each > 1 - BOUND)).double().mean()) for each in (before, after)]
        return "ended at the end of its range" if shares[1] > MOST_AT_BOUND > shares[0] else ""
    method = setup.model.parametrization(str(parts)) if str(parts) in setup.model.latents else None
    if isinstance(method, Bounded):
        edges = [((each - method.low) / (method.high - method.low) - 0.5).abs().max() for each in (before, after)]
        return "ended at the end of its range" if edges[1] > 0.5 - BOUND > edges[0] else ""
    if kind in (RADIANCE, NUMBER, ANGLE) and float(before.max()) > 0:
        ratio = float(after.max() / before.max())
        return f"ended at {ratio:.2g} times its start" if ratio < FADED or ratio > BLOWN else ""
    return ""


VALUE_CHECKS: tuple[Callable[[Course], Reason | None], ...] = (
    find_still_values,
    find_missed_truth,
    find_values_at_bounds,
    find_runaway_exposures,
    find_odd_lenses,
)
