"""The visual hull: the largest shape consistent with the silhouettes seen by the cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.isosurface import Lattice, isosurface
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.silhouette_distance import PORTION, MaskDistanceField
from diffrender.geometry.topology import Topology
from diffrender.geometry.umbrella_vectors import laplacian_vectors

# In cells: the blur that removes pixel-sized handles and pits of contradictory silhouettes before the topology is
# fixed, and the thickening that lets thin parts survive the blur.
BLUR, THICKEN = 1.0, 0.4
# Edge length of the mesh, in cells, and remeshing passes.
EDGE = 1.3
REMESHING = 5
# Rounds that project the vertices back onto the hull itself. Each moves them PART of the way, at most FARTHEST cells,
# and is followed by a step of Taubin smoothing, which shrinks and grows back.
SETTLING = 4
PART, FARTHEST = 0.7, 0.4
SHRINK, GROW = 0.5, -0.53
# Below this slope the function does not tell the distance of its zero.
FLATTEST = 0.3
# Cells along each side of the grid that finds the bounds.
COARSE = 40
MOST_CELLS = 256
# Of all that parts cover in all images, the share that another part must add to be kept; of the largest MOST_PARTS. It
# is counted in squares, about SQUARES along an image.
NEEDED, MOST_PARTS, SQUARES = 0.03, 20, 48
# Or the share of its squares that it adds, and of images in which it does.
APART = 0.5
# A part that is shown by less than this share of the views that show another is there for want of views that deny it.
JUDGED = 0.5


def visual_hull(
    field: MaskDistanceField,
    low: Tensor,
    high: Tensor,
    cell: float,
    components: Literal["needed", "largest", "all"] = "needed",
    tolerance: int = 0,
) -> Triangles:
    """Build the visual hull of the silhouettes of `field` inside the box `low`..`high` [3].

    The mesh is smooth, closed and manifold; its triangles are even, with edges of about 1.3 cells.
    cell: the finest detail in world units; enlarged if the hull would have more than 256 cells along a side.
    components: keep the component of largest volume, of those that views show, and what else the silhouettes need, as
        they do of several objects (not of what is there for want of views that deny it); or that alone; or all.
        Invisible cavities are filled.
    tolerance: number of views that may exclude a point without removing it.
    Raises DataError if nothing is left, naming views that alone remove what all others leave.
    Source: A. Laurentini, "The visual hull concept for silhouette-based image understanding" (1994); smoothing from
    G. Taubin, "A signal processing approach to fair surface design" (1995).
    """
    if not cell > 0:
        raise ShapeError(f"visual_hull: cell must be positive, got {cell}")
    low, high = hull_bounds(field, low, high, tolerance)
    cell = max(cell, float((high - low).max()) / MOST_CELLS)

    def hull(points: Tensor) -> Tensor:
        beyond = torch.maximum(low - points, points - high).amax(1)
        return torch.maximum(field.hull(points, tolerance), beyond)

    lattice = Lattice.around(low - cell, high + cell, cell)
    surface = isosurface(lambda points: hull(points) - THICKEN * cell, lattice, BLUR)
    if not len(surface.faces):
        raise DataError(_explain_empty(field, low, high))
    parts = _solid_parts(surface, components, field)
    from diffrender.geometry.remesh.remesh import RemeshOptions, remesh

    # The creases between cones are not features: they carry no information about the object.
    even = remesh(parts.vertices, parts.faces, EDGE * cell, passes=REMESHING, options=RemeshOptions(features_deg=None))
    return Triangles(_project_to_surface(Triangles(even.vertices, even.faces), hull, cell), even.faces)


def hull_bounds(field: MaskDistanceField, low: Tensor, high: Tensor, tolerance: int = 0) -> tuple[Tensor, Tensor]:
    """Return the part of the box `low`..`high` [3] that contains the hull, found on a coarse grid.

    Raises DataError if nothing is left.
    """
    # Twice: the second grid resolves what the first, in a box that may be far too large, does not.
    for _ in range(2):
        cell = (high - low) / COARSE
        axes = [low[k] + cell[k] * (torch.arange(COARSE) + 0.5) for k in range(3)]
        points = torch.cartesian_prod(*axes)
        occupied = points[field.hull(points, tolerance) < float(cell.norm()) / 2]
        if not len(occupied):
            raise DataError(_explain_empty(field, low, high))
        low = torch.maximum(occupied.amin(0) - cell, low)
        high = torch.minimum(occupied.amax(0) + cell, high)
    return low, high


def _explain_empty(field: MaskDistanceField, low: Tensor, high: Tensor) -> str:
    axes = [torch.linspace(float(low[k]), float(high[k]), COARSE) for k in range(3)]
    outside = field.outside(torch.cartesian_prod(*axes))
    votes = (outside >= 0).sum(0)
    alone = (outside[:, votes == 1] >= 0).sum(1)
    culprits = [field.names[i] for i in alone.argsort(descending=True).tolist() if alone[i] > 0][:3]
    cause = (
        f"removing {' or '.join(culprits)} alone would leave something: check the mask and camera of that view first"
        if culprits
        else "no single view is the cause: probably the camera convention is wrong, or masks are inverted"
        " (the object must be white)"
    )
    corners = " to ".join("(" + ", ".join(f"{x:.3g}" for x in end.tolist()) + ")" for end in (low, high))
    return (
        f"the visual hull of {len(field)} masks is empty: no point from {corners} is inside all of them; {cause}."
        " A tolerance lets the other views overrule some"
    )


def _solid_parts(
    surface: Triangles, components: Literal["needed", "largest", "all"], field: MaskDistanceField
) -> Triangles:
    """Return the components that are kept, as in `visual_hull`, without the inward walls of cavities."""
    vertices, faces = surface
    corners = vertices.double()[faces]
    six_volumes = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum(1)
    topology = Topology(faces)
    part = topology.face_component
    volume = six_volumes.new_zeros(topology.n_components).index_add(0, part, six_volumes)
    judged = field.judged(vertices)[faces[:, 0]].to(volume)
    shown = volume.new_zeros(len(volume)).index_add(0, part, judged) / part.bincount()
    known = volume.where(shown >= JUDGED * shown.max(), 0)
    if components == "all":
        keep = volume > 0
    elif components == "largest":
        keep = torch.arange(len(volume)) == known.argmax()
    else:
        keep = _needed(vertices, faces, part, known, field)
    faces = faces[keep[part]]
    used, index = faces.unique(return_inverse=True)
    return Triangles(vertices[used], index)


def _needed(vertices: Tensor, faces: Tensor, part: Tensor, volume: Tensor, field: MaskDistanceField) -> Tensor:
    """Return which components images need: the largest, and those that fill what the ones before leave uncovered.

    part: [F] the component of each face. volume: of each component, 0 of those that are out of the question.
    """
    candidates = volume.argsort(descending=True)[:MOST_PARTS]
    candidates = candidates[volume[candidates] > 0]
    keep = torch.zeros(len(volume), dtype=torch.bool)
    keep[candidates[:1]] = True
    if len(candidates) < 2:
        return keep
    side = field.long_side // SQUARES + 1
    filled = torch.zeros(len(candidates), field.n_squares(side), dtype=torch.bool)
    for row, each in zip(filled, candidates, strict=True):
        for points in vertices[faces[part == each].unique()].split(PORTION):
            shown = field.squares(points, side)
            row[shown[shown >= 0]] = True
    covered, total = filled[0].clone(), int(filled.any(0).sum())
    while True:
        new = filled & ~covered
        # Something apart from all others in most images, however small.
        own, alone = (each.unflatten(1, (len(field), -1)).sum(2) for each in (filled, new))
        is_apart = ((alone > APART * own).sum(1) > APART * len(field)) & ~keep[candidates]
        more = new.sum(1) * (is_apart | (new.sum(1) > NEEDED * total))
        best = int(more.argmax())
        if int(more[best]) == 0:
            return keep
        keep[candidates[best]] = True
        covered |= filled[best]


def _project_to_surface(surface: Triangles, function: Callable[[Tensor], Tensor], cell: float) -> Tensor:
    """Move the vertices of `surface` to the zero set of `function`, with smoothing; returns [V, 3]."""
    vertices, edges = surface.vertices, Topology(surface.faces).edges
    for _ in range(SETTLING):
        value, slope = function(vertices), _slope(function, vertices, cell / 4)
        squared = slope.square().sum(1)
        way = PART * (value / squared.clamp_min(FLATTEST**2))[:, None] * slope
        length = torch.linalg.vector_norm(way, dim=1, keepdim=True)
        vertices = vertices - way * (FARTHEST * cell / length.clamp_min(FARTHEST * cell))
        for factor in (SHRINK, GROW):
            vertices = vertices + factor * laplacian_vectors(vertices, edges)
    return vertices


def _slope(function: Callable[[Tensor], Tensor], points: Tensor, step: float) -> Tensor:
    """Return central differences [M, 3] of `function` at `points` [M, 3]; zero where it jumps to infinity."""
    steps = step * torch.eye(3)
    slopes = [(function(points + way) - function(points - way)) / (2 * step) for way in steps]
    return torch.stack(slopes, 1).nan_to_num(0, 0, 0)
