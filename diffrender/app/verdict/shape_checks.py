"""Checks of learned shapes: orange peel, folds, intersections, faces that no pixel can see, spikes, collapse."""

from __future__ import annotations

import math
from collections.abc import Callable

from diffrender.app.verdict.evidence import Course
from diffrender.app.verdict.reason import Reason
from diffrender.geometry.roughness import roughness_deg

# Degrees (geometry.roughness). Good fits and scans have 0.5 to 2, coarse meshes more: 7 at 968 faces, 11 at 320. A fit
# without normal_consistency had 18 at 27,000 faces.
ROUGH_DEG, ROUGH_DEG_OF_COARSE = 7.0, 100.0
# Per face. Good fits have none; a few at a fingertip or a fin do no harm.
MOST_FOLDS, MOST_INTERSECTIONS = 0.01, 0.02
TORN = 0.3
# Of the pixels that see the surface. Good fits have none or a hundredth of that; with a thousandth, holes are seen.
MOST_INSIDE = 0.001
# Remeshing stops at two pixels; a pixel has one colour and one piece of silhouette.
SMALLEST_PX = 0.5
# Of the larger of start and targets; of the start.
EXPLODED, COLLAPSED = 3.0, 0.05
# A weight of loss.normal_consistency under which the same fit is smooth, and how much more to try next.
SMOOTH_WEIGHT, MORE = 0.05, 4.0


def find_orange_peel(course: Course) -> Reason | None:
    """A surface whose faces tilt to and fro."""
    after = roughness_deg(course.end.surface)
    most = ROUGH_DEG + ROUGH_DEG_OF_COARSE / math.sqrt(max(len(course.end.surface.faces), 1))
    if after < max(most, 1.5 * roughness_deg(course.start.surface)):
        return None
    return Reason(
        "orange_peel",
        f"The surface is rough like orange peel: neighbouring faces tilt to and fro by {after:.0f} degrees",
        f"{_smooth(course)}, or use larger faces (remesh)",
    )


def find_folds(course: Course) -> Reason | None:
    """Neighbouring faces that lie on one another."""
    before, after = course.start.evaluation.geometry.whole, course.end.evaluation.geometry.whole
    share = after.folded_faces / max(after.n_faces, 1)
    if share < MOST_FOLDS or share <= before.folded_faces / max(before.n_faces, 1):
        return None
    return Reason(
        "folds", f"The surface is folded at {after.folded_faces:,} edges", f"{_smooth(course)}, or lower its lr"
    )


def find_self_intersections(course: Course) -> Reason | None:
    """Faces that cross others."""
    before, after = course.start.evaluation.geometry.whole, course.end.evaluation.geometry.whole
    share = after.self_intersections / max(after.n_faces, 1)
    if share < MOST_INTERSECTIONS or share <= before.self_intersections / max(before.n_faces, 1):
        return None
    return Reason(
        "self_intersections",
        f"The surface crosses itself: {after.self_intersections:,} pairs of {after.n_faces:,} faces",
        f"{_smooth(course)}, or lower its lr",
        fails=share > TORN,
    )


def find_pierced(course: Course) -> Reason | None:
    """A closed surface that passes through itself, so that its inside is seen."""
    share = course.end.inside_share
    if share < MOST_INSIDE or share <= course.start.inside_share:
        return None
    return Reason(
        "pierced",
        f"The surface is pierced: {share:.1%} of what is seen of it is its inside",
        f"{_smooth(course)}, or use larger faces (remesh)",
    )


def find_invisible_faces(course: Course) -> Reason | None:
    """Faces far smaller than a pixel."""
    surface = course.end.surface
    corners = surface.vertices[surface.faces]
    edge = float((corners - corners.roll(1, 1)).norm(dim=-1).median())
    middle = surface.vertices.mean(0).float()[None]
    pixel = float(course.case.views.cameras.pixel_size(middle).min())
    if edge > SMALLEST_PX * pixel:
        return None
    return Reason(
        "faces_below_pixels",
        f"Faces are far smaller than pixels: edges of {edge / pixel:.2f} pixels, whose places the images cannot show",
        "Use fewer subdivisions, remesh with shortest at 2 pixels, or give larger images (targets.resolution)",
    )


def find_explosion(course: Course) -> Reason | None:
    """A mesh that has grown far beyond what the targets show."""
    limit = max(course.start.size(), 2 * course.case.region.radius)
    if not course.end.size() >= EXPLODED * limit:
        return None
    return Reason(
        "exploded",
        f"The mesh grew to {course.end.size() / limit:.3g} times the size of start and targets",
        "Lower optimize.mesh.vertices.lr, and smooth more (loss.laplacian)",
        fails=True,
    )


def find_collapse(course: Course) -> Reason | None:
    """A mesh that has shrunk to almost nothing."""
    before, after = course.start.evaluation.geometry.whole.area, course.end.evaluation.geometry.whole.area
    if not after < COLLAPSED * before:
        return None
    return Reason(
        "collapsed",
        f"The mesh shrank from an area of {before:.3g} to {after:.3g}",
        "Lower the weights of loss.laplacian and other regularisers, add loss.mask, and check the masks",
        fails=True,
    )


def _smooth(course: Course) -> str:
    """Return a remedy against rough surfaces."""
    weights = {term.name: term.weight for term in course.case.setup.objective.terms}
    weight = max(SMOOTH_WEIGHT, MORE * weights.get("normal_consistency", 0.0))
    path = course.case.shape_paths[0]
    return f"Set loss.normal_consistency: {weight:.2g} and optimize.{path}.schedule: {{type: exponential, final: 0.1}}"


SHAPE_CHECKS: tuple[Callable[[Course], Reason | None], ...] = (
    find_explosion,
    find_collapse,
    find_self_intersections,
    find_pierced,
    find_folds,
    find_orange_peel,
    find_invisible_faces,
)
