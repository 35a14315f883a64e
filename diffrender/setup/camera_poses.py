"""Doubt the poses of a capture: cameras that do not look at one point are often in another convention."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from diffrender.scene.target_views import Views
from diffrender.setup.camera_readings import Reading, other_readings
from diffrender.setup.region import Sight, sight_of_views, to_triple

# From this mean cosine on, another reading of the matrices is likely.
CLEAR = 0.9
# Positions that differ by less, as a fraction of their size, and rotations that differ by less, are the same.
SAME = 1e-5
OUTWARDS = (
    "if they look outwards, from inside a scene, state where its surface is: aabb in transforms.json, or center and"
    " radius of mesh"
)


def doubt_poses(
    views: Views, origin: tuple[float, float, float] = (0.0, 0.0, 0.0), aabb: Tensor | None = None
) -> str | None:
    """Return what is doubtful about the poses of `views`, a sentence about "its cameras" with a remedy, or None.

    origin: the point of the capture's world that is the origin of `views`. aabb: the box that the capture states;
    nothing is said of cameras in it, which look at it wherever they look.
    """
    cameras = views.cameras
    if cameras.projection.default_near <= 0 or cameras.number is not None:
        return None
    eyes = cameras.positions_w().double()
    if aabb is not None and float(((eyes > aabb[0]) & (eyes < aabb[1])).all(1).double().mean()) > 0.5:
        return None
    n_views = len(views)
    size = max(float(eyes.norm(dim=1).max()), 1e-30)
    at_one_point = n_views > 1 and float((eyes - eyes[0]).norm(dim=1).max()) <= SAME * size
    turn = cameras.cam_from_world[:, :3, :3] - cameras.cam_from_world[0, :3, :3]
    if at_one_point and float(turn.abs().max()) <= SAME:
        return (
            f"its {n_views} cameras have one and the same pose, so that no depth can be known; check transform_matrix"
        )
    sight = sight_of_views(views)
    reading = _likely_reading(views, sight, origin)
    if reading is None and sight.is_met:
        return _describe_strays(views, sight)
    if at_one_point:
        found = f"its {n_views} cameras are all at one point"
    elif n_views == 1:
        found = "its camera looks away from the world's origin"
    elif sight.is_narrow:
        found = f"its {n_views} cameras look in about one direction, and do not meet in front of them"
    else:
        behind = int((sight.cosines <= 0).sum())
        found = (
            f"its cameras look away from each other: the point nearest to their sights is behind {behind} of {n_views}"
        )
    if reading is None:
        return f"{found}; {OUTWARDS}, or check that transform_matrix is camera-to-world in OpenGL axes (looks along -z)"
    found += f"; read as {reading.name} they look at one point, so they are probably that: {reading.remedy}"
    return found if views.masks is not None else f"{found}; or, {OUTWARDS}"


def _likely_reading(views: Views, sight: Sight, origin: tuple[float, float, float]) -> Reading | None:
    """Return the other convention in which the cameras clearly look at one point, if they do not so as they are."""
    if sight.is_met and not sight.is_narrow:
        return None
    readings = [reading for reading in other_readings(views.cameras, origin) if reading.is_common]
    # Cameras that look one way meet somewhere by chance, in any axes.
    for reading in readings[1:] if sight.is_met else readings:
        other = sight_of_views(replace(views, cameras=reading.cameras))
        if not other.is_narrow and float(other.cosines.mean()) > CLEAR:
            return reading
    return None


def _describe_strays(views: Views, sight: Sight) -> str | None:
    strays = [name for name, cosine in zip(views.names, sight.cosines.tolist(), strict=True) if cosine <= 0]
    if not strays:
        return None
    point = ", ".join(f"{x:.4g}" for x in to_triple(sight.point))
    listed = ", ".join(strays[:3]) + (" ..." if len(strays) > 3 else "")
    return (
        f"{len(strays)} of its {len(views)} cameras look away from ({point}), at which the others look: {listed};"
        " check their transform_matrix"
    )
