"""Distances between surfaces: closest points, two-way surface distances, and vertex distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_finite, check_indices_below, check_number, check_shape, check_type
from diffrender.errors import ShapeError
from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.sampling import sample_surface

# Enough for the mean distance of two surfaces to vary by less than a percent with the seed.
SAMPLES = 100_000


class ClosestPoints(NamedTuple):
    """The closest points on a surface to P query points.

    points: [P, 3] float64 on the surface.
    face: [P] int64; `face[p] = f` means that points[p] is on triangle f; of several, the lowest.
    distance: [P] float64, >= 0.
    """

    points: Tensor
    face: Tensor
    distance: Tensor


@dataclass(frozen=True)
class OneWayDistance:
    """Statistics of the distances from evenly spread points of one surface to another, in the unit of the surfaces.

    rms, mean, p95, max: of the distances; p95 is the 95th percentile.
    normal_deg: the mean angle between the normals at a point and at its closest point, 0..180.
    """

    rms: float
    mean: float
    p95: float
    max: float
    normal_deg: float


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces in both directions, in the unit of the surfaces.

    rms: sqrt((rms_there^2 + rms_back^2) / 2). mean, normal_deg: the mean of the two directions.
    p95: the 95th percentile of all distances of both directions. max: the larger of the two; points are samples, so a
        thin spike may be missed.
    there: from points of the first surface to the second. back: from points of the second surface to the first.
    """

    rms: float
    mean: float
    p95: float
    max: float
    normal_deg: float
    there: OneWayDistance
    back: OneWayDistance


class SurfaceQuery:
    """A triangle mesh with a BVH for closest-point queries; build it once for many queries.

    triangles: vertices [V, 3] float, faces [F, 3] int64, F > 0; moved to the CPU and to float64.
    Raises ShapeError for a mesh without faces, a wrong shape or index, or a non-finite vertex.
    """

    def __init__(self, triangles: Triangles) -> None:
        self.triangles = check_triangles("SurfaceQuery", triangles)
        if not len(self.triangles.faces):
            raise ShapeError("SurfaceQuery: the mesh has no faces; give one with at least one triangle")
        from diffrender.geometry.bvh import build_bvh

        self._tree = build_bvh(self.triangles.vertices.numpy(), self.triangles.faces.numpy())

    def closest(self, points: Tensor) -> ClosestPoints:
        """Find the closest point of the surface to each of `points` [P, 3]; exact, on the CPU, not differentiable.

        Raises ShapeError for another shape or a non-finite point.
        """
        check_shape("SurfaceQuery.closest", "points", points, ("P", 3))
        check_finite("SurfaceQuery.closest", "points", points)
        from diffrender.geometry.closest_point_kernel import closest_points

        found = closest_points(self._tree, np.ascontiguousarray(points.detach().cpu().double().numpy()))
        return ClosestPoints(*(torch.from_numpy(array) for array in found))


def surface_distance(
    first: SurfaceQuery, second: SurfaceQuery, n_samples: int = SAMPLES, seed: int = 0
) -> SurfaceDistance:
    """Measure the distances between two surfaces in both directions, from `n_samples` points sampled evenly on each.

    Raises ShapeError if a surface has no area or n_samples < 1.
    """
    for name, surface in (("first", first), ("second", second)):
        check_type("surface_distance", name, surface, SurfaceQuery, "a SurfaceQuery of a mesh")
    check_number("surface_distance", "n_samples", n_samples, whole=True)
    check_number("surface_distance", "seed", seed, whole=True)
    if n_samples < 1:
        raise ShapeError(f"surface_distance: n_samples must be at least 1, got {n_samples}")
    there, there_deg = _one_way(first, second, n_samples, seed)
    back, back_deg = _one_way(second, first, n_samples, seed)
    one, other = _summarize(there, there_deg), _summarize(back, back_deg)
    return SurfaceDistance(
        rms=math.sqrt((one.rms**2 + other.rms**2) / 2),
        mean=(one.mean + other.mean) / 2,
        p95=_p95(torch.cat([there, back])),
        max=max(one.max, other.max),
        normal_deg=(one.normal_deg + other.normal_deg) / 2,
        there=one,
        back=other,
    )


def vertex_distance(first: SurfaceQuery, second: SurfaceQuery) -> float:
    """Return the RMS distance of the vertices of each surface to the other, sqrt((mean d1^2 + mean d2^2) / 2).

    d1: from the vertices of the first surface to the second; d2: from the vertices of the second to the first.
    Vertices without a face do not count. The vertices of a fitted mesh are on its target, while the triangles between
    them cut its curves: for coarse meshes this is smaller than the distance of the surfaces.
    Source: W. Palfinger, "Continuous remeshing for inverse rendering" (2022).
    """
    squares = [
        float(to.closest(corners_of(of.triangles)).distance.square().mean())
        for of, to in ((first, second), (second, first))
    ]
    return math.sqrt(sum(squares) / 2)


def corners_of(triangles: Triangles) -> Tensor:
    """Return the vertices [U, 3] that belong to a face."""
    return triangles.vertices[triangles.faces.unique()]


def check_triangles(function: str, triangles: Triangles) -> Triangles:
    """Check triangles and return them on the CPU in float64, without gradients; errors name `function`."""
    if not (hasattr(triangles, "vertices") and hasattr(triangles, "faces")):
        raise ShapeError(f"{function}: the surface must be a Mesh or Triangles, got {type(triangles).__name__}")
    vertices, faces = triangles.vertices, triangles.faces
    check_shape(function, "vertices", vertices, ("V", 3))
    check_shape(function, "faces", faces, ("F", 3))
    check_indices_below(function, "faces", faces, len(vertices), "the number of vertices")
    check_finite(function, "vertices", vertices)
    return Triangles(vertices.detach().cpu().double().contiguous(), faces.cpu().contiguous())


def _one_way(start: SurfaceQuery, goal: SurfaceQuery, n_samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the distance [P] of each sample and the angle between the normals [P]; NaN if a face has no normal."""
    samples = sample_surface(start.triangles, n_samples, seed)
    found = goal.closest(samples.points)
    here, there = (face_normals(*surface.triangles) for surface in (start, goal))
    one, other = here[samples.face], there[found.face]
    # From the tangent: the cosine of a small angle loses precision.
    angle = torch.atan2(torch.linalg.cross(one, other, dim=-1).norm(dim=-1), (one * other).sum(-1))
    has_normal = (one.square().sum(-1) > 0) & (other.square().sum(-1) > 0)
    return found.distance, torch.rad2deg(angle).where(has_normal, torch.nan)


def _summarize(distance: Tensor, angle_deg: Tensor) -> OneWayDistance:
    return OneWayDistance(
        rms=float(distance.square().mean().sqrt()),
        mean=float(distance.mean()),
        p95=_p95(distance),
        max=float(distance.max()),
        normal_deg=float(angle_deg.nanmean()),
    )


def _p95(distance: Tensor) -> float:
    # Not torch.quantile: it does not accept more than 16 million values.
    return float(np.quantile(distance.numpy(), 0.95))
