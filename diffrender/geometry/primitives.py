"""Primitive meshes: icosphere, box, torus, plane and bumpy sphere; faces are counter-clockwise from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError


class Triangles(NamedTuple):
    """A bare triangle mesh.

    vertices: [V, 3] float32.
    faces: [F, 3] int64; `faces[f, c] = v` means that corner c of face f is vertices[v].
    """

    vertices: Tensor
    faces: Tensor


class _Lobe(NamedTuple):
    """A lobe of the bumpy sphere: its direction, its height above the body, and its linear RGB."""

    azimuth_deg: float
    elevation_deg: float
    height: float
    color: tuple[float, float, float]


# A body of radius 0.55 with a lobe towards each corner of an icosahedron (elevations +-90 and +-26.57 degrees). The
# heights are uneven so that no two views look alike; neighbouring lobes have very different colours.
_BODY = 0.55
_LOBES = (
    _Lobe(0, 90, 0.64, (0.95, 0.60, 0.02)),
    _Lobe(0, 26.57, 0.56, (0.83, 0.03, 0.035)),
    _Lobe(72, 26.57, 0.48, (0.93, 0.22, 0.01)),
    _Lobe(144, 26.57, 0.57, (0.20, 0.60, 0.04)),
    _Lobe(216, 26.57, 0.47, (0.03, 0.20, 0.82)),
    _Lobe(288, 26.57, 0.54, (0.34, 0.09, 0.76)),
    _Lobe(36, -26.57, 0.50, (0.88, 0.09, 0.40)),
    _Lobe(108, -26.57, 0.57, (0.01, 0.50, 0.48)),
    _Lobe(180, -26.57, 0.46, (0.94, 0.58, 0.03)),
    _Lobe(252, -26.57, 0.56, (0.85, 0.06, 0.14)),
    _Lobe(324, -26.57, 0.47, (0.02, 0.38, 0.72)),
    _Lobe(0, -90, 0.40, (0.36, 0.66, 0.08)),
)
_LOBE_SHARPNESS = 13.0  # a lobe falls to half its height 18 degrees from its axis: cos 18 deg = 1 - ln 2 / 13
_COLOR_SHARPNESS = 11.0  # colours blend over a few degrees more than the lobes do


def icosphere(subdivisions: int = 3, radius: float = 1.0) -> Triangles:
    """Build a sphere around the origin: an icosahedron whose triangles are split in four, `subdivisions` times.

    V = 10 * 4^subdivisions + 2 and F = 20 * 4^subdivisions: 642 and 1,280 for 3, 2,562 and 5,120 for 4.
    """
    _check_count("icosphere", "subdivisions", subdivisions, 0)
    if subdivisions > 8:
        raise ShapeError(f"icosphere: subdivisions must be at most 8 (1.3 million faces), got {subdivisions}")
    _check_positive("icosphere", "radius", radius)
    vertices, faces = _icosahedron()
    for _ in range(subdivisions):
        vertices, faces = _split_in_four(vertices, faces)
        vertices = torch.nn.functional.normalize(vertices, dim=-1)
    return Triangles((radius * vertices).float(), faces)


def box(size: float | Sequence[float] = 1.0) -> Triangles:
    """Build a box around the origin with edges `size` (one number, or one each for x, y, z): 8 vertices, 12 faces."""
    edges = [float(size)] * 3 if isinstance(size, (int, float)) else [float(edge) for edge in size]
    if len(edges) != 3:
        raise ShapeError(f"box: size must be one number or three, got {len(edges)}")
    for edge in edges:
        _check_positive("box", "size", edge)
    # Corner 4 i + 2 j + k is at the low (0) or high (1) end of x, y and z.
    corners = torch.tensor([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [corner for a, b, c, d in quads for corner in ((a, b, c), (a, c, d))]
    return Triangles(corners * torch.tensor(edges), torch.tensor(faces))


def torus(major_radius: float = 1.0, minor_radius: float = 0.4, n_major: int = 48, n_minor: int = 24) -> Triangles:
    """Build a torus around the y axis: a tube of `minor_radius` along a circle of `major_radius`.

    n_major, n_minor: vertices along the circle and around the tube, at least 3 each; 2 n_major n_minor faces.
    """
    _check_positive("torus", "minor_radius", minor_radius)
    if not (math.isfinite(major_radius) and major_radius > minor_radius):
        raise ShapeError(
            f"torus: major_radius must be larger than minor_radius ({minor_radius}) to leave a hole, got {major_radius}"
        )
    _check_count("torus", "n_major", n_major, 3)
    _check_count("torus", "n_minor", n_minor, 3)
    around = torch.arange(n_major, dtype=torch.float64)[:, None] * (2 * math.pi / n_major)
    tube = torch.arange(n_minor, dtype=torch.float64)[None, :] * (2 * math.pi / n_minor)
    distance = major_radius + minor_radius * tube.cos()
    vertices = torch.stack(
        torch.broadcast_tensors(distance * around.sin(), minor_radius * tube.sin(), distance * around.cos()), -1
    )
    i, j = torch.arange(n_major)[:, None], torch.arange(n_minor)[None, :]
    next_i, next_j = (i + 1) % n_major, (j + 1) % n_minor
    quads = [a * n_minor + b for a, b in ((i, j), (next_i, j), (next_i, next_j), (i, next_j))]
    return Triangles(vertices.reshape(-1, 3).float(), _triangulate(quads))


def plane(width: float = 1.0, depth: float = 1.0, n_width: int = 1, n_depth: int = 1) -> Triangles:
    """Build a flat rectangle around the origin that faces up (+y), `width` along x and `depth` along z.

    n_width, n_depth: cells along each side; 2 n_width n_depth faces. It is open: from below only back faces are
    visible.
    """
    _check_positive("plane", "width", width)
    _check_positive("plane", "depth", depth)
    _check_count("plane", "n_width", n_width, 1)
    _check_count("plane", "n_depth", n_depth, 1)
    x = torch.linspace(-width / 2, width / 2, n_width + 1, dtype=torch.float64)[:, None]
    z = torch.linspace(-depth / 2, depth / 2, n_depth + 1, dtype=torch.float64)[None, :]
    vertices = torch.stack(torch.broadcast_tensors(x, torch.zeros_like(x), z), -1)
    i, j = torch.arange(n_width)[:, None], torch.arange(n_depth)[None, :]
    quads = [a * (n_depth + 1) + b for a, b in ((i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j))]
    return Triangles(vertices.reshape(-1, 3).float(), _triangulate(quads))


def bumpy_sphere(subdivisions: int = 5, radius: float = 1.0) -> Triangles:
    """Build a smooth closed shape with twelve uneven lobes; far from a sphere, yet star-shaped around its centre.

    subdivisions: those of the icosphere that it is displaced from; 5 gives 10,242 vertices and 20,480 faces.
    radius: the distance of the farthest vertex from the origin.
    `bumpy_sphere_colors` returns matching colours.
    """
    _check_positive("bumpy_sphere", "radius", radius)
    sphere = icosphere(subdivisions)
    directions = torch.nn.functional.normalize(sphere.vertices.double(), dim=-1)
    axes, heights, _ = _lobe_tensors()
    distance = _BODY + torch.exp(_LOBE_SHARPNESS * (directions @ axes.T - 1)) @ heights
    return Triangles((directions * (distance / distance.max() * radius)[:, None]).float(), sphere.faces)


def bumpy_sphere_colors(vertices: Tensor) -> Tensor:
    """Return linear RGB [V, 3] in 0..1 for vertices [V, 3] by their direction from the origin: one colour per lobe.

    Smooth in the direction, so it suits any mesh around the origin, at any resolution.
    """
    check_shape("bumpy_sphere_colors", "vertices", vertices, ("V", 3))
    directions = torch.nn.functional.normalize(vertices.double(), dim=-1)
    axes, _, colors = _lobe_tensors()
    weights = torch.softmax(_COLOR_SHARPNESS * directions @ axes.to(vertices.device).T, dim=-1)
    return (weights @ colors.to(vertices.device)).float()


def _lobe_tensors() -> tuple[Tensor, Tensor, Tensor]:
    """Return the axes [12, 3], heights [12] and colours [12, 3] of the lobes, float64."""
    azimuth, elevation, heights = torch.tensor([lobe[:3] for lobe in _LOBES], dtype=torch.float64).unbind(1)
    azimuth, elevation = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    axes = torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()], -1)
    return axes, heights, torch.tensor([lobe.color for lobe in _LOBES], dtype=torch.float64)


def _icosahedron() -> tuple[Tensor, Tensor]:
    """Return unit vertices [12, 3] in float64 and faces [20, 3]."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    vertices = torch.tensor(
        [axes for turn in range(3) for axes in (corner[3 - turn :] + corner[: 3 - turn] for corner in corners)],
        dtype=torch.float64,
    )
    # A face is three mutual neighbours at distance 2; all other pairs are at least 2 golden apart.
    near = torch.cdist(vertices, vertices) < 2.5
    faces = [
        (a, b, c) for a in range(12) for b in range(a) for c in range(b) if near[a, b] and near[b, c] and near[c, a]
    ]
    outward = [(a, b, c) if torch.linalg.det(vertices[[a, b, c]]) > 0 else (a, c, b) for a, b, c in faces]
    return torch.nn.functional.normalize(vertices, dim=-1), torch.tensor(outward)


def _split_in_four(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Split every face in four, with a new vertex in the middle of every edge.

         a
        / \\
      ab - ca
      / \\ / \\
     b - bc - c
    """
    a, b, c = faces.unbind(1)
    edges = torch.stack([torch.stack(pair, 1) for pair in ((a, b), (b, c), (c, a))]).sort(-1).values
    unique, inverse = torch.unique(edges.reshape(-1, 2), dim=0, return_inverse=True)
    ab, bc, ca = (inverse + len(vertices)).reshape(3, -1)
    middles = vertices[unique].mean(1)
    corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return torch.cat([vertices, middles]), torch.stack([torch.stack(face, 1) for face in corners], 1).reshape(-1, 3)


def _triangulate(quads: Sequence[Tensor]) -> Tensor:
    """Return two triangles per quadrilateral [F, 3]; its corners are four broadcastable index tensors, in order."""
    a, b, c, d = (corner.reshape(-1) for corner in torch.broadcast_tensors(*quads))
    return torch.stack([a, b, c, a, c, d], -1).reshape(-1, 3)


def _check_positive(function: str, argument: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ShapeError(f"{function}: {argument} must be positive, got {value}")


def _check_count(function: str, argument: str, value: int, least: int) -> None:
    if value < least:
        raise ShapeError(f"{function}: {argument} must be at least {least}, got {value}")
