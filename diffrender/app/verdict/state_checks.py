"""Checks of one state of a scene against the targets: before the fit they warn, after it they judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from diffrender.app.verdict.diagnosis import diagnose
from diffrender.app.verdict.evidence import State
from diffrender.app.verdict.reason import Reason
from diffrender.geometry.winding import winding_numbers
from diffrender.scene.quantity_kinds import CAMERA_POSES
from diffrender.setup.region import INSIDE

# Reasons that inexact poses of cameras explain, and what is said of them where these are learned.
OF_POSES = ("masks_contradict", "inexact_cameras")
POSES_ARE_LEARNED = (
    "Poses that are nearly right are corrected (optimize.cameras.pose is learned); of others, check that images, masks"
    " and cameras belong together, and that all masks show the same whole object"
)
# Shares of the masks' area.
NO_OVERLAP = 0.02
# Below 1, since scans have holes.
INSIDE_WINDING = 0.6
# Scenes have floors and surroundings, but units differ by at least 10 (inches: 39), and so do mistakes of sizes.
OTHER_UNITS = 8.0
# (factor, within, words): what a mesh is multiplied by if its units are taken for those of the cameras.
UNITS = ((1000.0, "millimetres and metres"), (100.0, "centimetres and metres"), (39.37, "inches and metres"))
UNIT_RANGE = 2.0
# Of the targets' brightness.
DARK, BRIGHT = 0.02, 8.0
LEAST_BRIGHTNESS = 0.01


def find_contradicting_masks(state: State) -> Reason | None:
    """Masks that contradict each other, seen through the cameras."""
    case = state.case
    # Of what moves, each view shows another shape.
    if case.setup.target_scene is not None or state.scene.motion is not None or not case.fits_silhouettes:
        return None
    before, now = case.views.cameras, state.cameras.to("cpu")
    names = ("cam_from_world", "focal_px", "center_px")
    is_same = all(torch.equal(getattr(before, name), getattr(now, name)) for name in names)
    diagnosis = case.diagnosis if is_same else diagnose(replace(case.views, cameras=now), case.setup.origin)
    reason = None if diagnosis is None else diagnosis.reason(case.has_masks_by_depth)
    if reason is None or reason.key not in OF_POSES or CAMERA_POSES not in case.learned_kinds:
        return reason
    return replace(reason, remedy=POSES_ARE_LEARNED)


def find_missed_masks(state: State) -> Reason | None:
    """A start that is nowhere where the masks are."""
    iou = state.scores.iou
    if not state.case.fits_silhouettes or not bool((iou < NO_OVERLAP).all()):
        return None
    return Reason(
        "start_misses_masks",
        "The start overlaps the masks of no view: silhouettes that do not touch do not attract each other",
        "Move it with mesh.center, mesh.radius or pose, or start from mesh: {init: visual_hull}; if the start should be"
        " right, check the cameras",
    )


def find_camera_inside_mesh(state: State) -> Reason | None:
    """Cameras that are enclosed by the surface."""
    cameras = state.cameras
    if cameras.projection.default_near == 0:
        return None  # an orthographic camera has no place
    low, high = state.surface.vertices.amin(0), state.surface.vertices.amax(0)
    places = cameras.positions_w().detach().cpu().to(low)
    within = places[((places > low) & (places < high)).all(1)]
    count = int((winding_numbers(within, state.surface) > INSIDE_WINDING).sum())
    if not count:
        return None
    return Reason(
        "camera_inside_mesh",
        f"{count} of {len(places)} cameras of fitted views are inside the mesh, which they then see from behind",
        "Check the size and the place of the mesh (mesh.radius, mesh.center, scale, pose) and the units of the cameras",
        fails=count > len(places) / 2,
    )


def find_other_units(state: State) -> Reason | None:
    """A mesh of quite another size than the targets suggest."""
    expected = state.case.region.radius / INSIDE
    if not expected > 0:
        return None
    ratio = state.size() / expected
    if 1 / OTHER_UNITS < ratio < OTHER_UNITS:
        return None
    factor = max(ratio, 1 / ratio)
    known = [words for unit, words in UNITS if 1 / UNIT_RANGE < factor / unit < UNIT_RANGE]
    guess = f", as of {known[0]}" if known else ""
    return Reason(
        "other_units",
        f"The mesh is {factor:.3g} times as {'large' if ratio > 1 else 'small'} as what the cameras look at{guess}",
        f"Give mesh (or aabb) and cameras in the same units: set scale: {1 / ratio:.2g} for the mesh, or mend the"
        " cameras",
    )


def find_dark_rendering(state: State) -> Reason | None:
    """A rendering without light."""
    scores = state.scores
    target, shown = float(scores.target_brightness.mean()), float(scores.brightness.mean())
    if not state.case.compares_colors or target < LEAST_BRIGHTNESS or shown > DARK * target:
        return None
    return Reason(
        "dark_rendering",
        f"The rendered object is black (mean {shown:.2g}, targets {target:.2g})",
        "No light reaches it: check lights, their radiance and direction, and material.base_color",
    )


def find_bright_rendering(state: State) -> Reason | None:
    """A rendering with far too much light."""
    scores = state.scores
    target, shown = float(scores.target_brightness.mean()), float(scores.brightness.mean())
    if not state.case.compares_colors or shown < BRIGHT * max(target, LEAST_BRIGHTNESS):
        return None
    return Reason(
        "bright_rendering",
        f"The rendered object is {shown / target:.0f} times as bright as in the images",
        "Lower lights.<name>.radiance, or learn it",
    )


def find_inside_out(state: State) -> Reason | None:
    """A closed surface whose faces look inwards."""
    whole = state.evaluation.geometry.whole
    if not (whole.watertight and whole.volume < 0):
        return None
    return Reason(
        "inside_out",
        "The mesh is inside out: its faces look inwards",
        "Flip the faces of the mesh file; counter-clockwise must be outside",
    )


STATE_CHECKS: tuple[Callable[[State], Reason | None], ...] = (
    find_contradicting_masks,
    find_other_units,
    find_camera_inside_mesh,
    find_missed_masks,
    find_dark_rendering,
    find_bright_rendering,
    find_inside_out,
)
