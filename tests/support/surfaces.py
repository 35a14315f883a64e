"""Properties of triangle meshes, computed without the code under test, and random meshes to test with."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from diffrender.geometry.primitives import Triangles, box, icosphere, plane, torus


def _n_parts(n_nodes: int, pairs: np.ndarray) -> int:
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n_nodes, n_nodes))
    return int(connected_components(graph, directed=False)[0])


def half_edges(faces: np.ndarray) -> np.ndarray:
    """Return [3F, 2]: half-edge 3 f + c runs from corner c of face f to the next corner."""
    return np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)


def edges_of(faces: Tensor) -> np.ndarray:
    """Return [E, 2]: each edge once, the lower vertex index first."""
    edges = np.sort(half_edges(faces.numpy()), 1)
    size = int(edges.max()) + 1
    key = np.unique(edges[:, 0] * size + edges[:, 1])
    return np.stack([key // size, key % size], 1)


def boundary_edges(faces: Tensor) -> np.ndarray:
    """Return [B, 2]: the half-edges without an opposite half-edge."""
    edges = half_edges(faces.numpy())
    size = int(edges.max()) + 1
    return edges[~np.isin(edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0])]


def assert_manifold(faces: Tensor, n_vertices: int) -> None:
    """Fail unless the faces are an oriented manifold, closed or with boundary, that uses every vertex."""
    array = faces.numpy()
    edges = half_edges(array)
    assert (edges[:, 0] != edges[:, 1]).all(), "a face has a corner twice"
    key = edges[:, 0] * n_vertices + edges[:, 1]
    assert len(np.unique(key)) == len(key), "two faces have an edge in the same direction"
    low, middle, high = np.sort(array, 1).T
    assert len(np.unique((low * n_vertices + middle) * n_vertices + high)) == len(array), "two faces are the same"
    assert np.array_equal(np.unique(array), np.arange(n_vertices)), "a vertex is in no face"
    # Corners at one vertex are connected over edges: half-edge (a, b) and its twin (b, a) connect two corners at a.
    order = np.argsort(key)
    back = edges[:, 1] * n_vertices + edges[:, 0]
    at = np.searchsorted(key[order], back).clip(max=len(key) - 1)
    twin = np.where(key[order][at] == back, order[at], -1)
    corner = np.nonzero(twin >= 0)[0]
    following = np.arange(len(edges)) // 3 * 3 + (np.arange(len(edges)) + 1) % 3
    pairs = np.stack([corner, following[twin[corner]]], 1)
    assert _n_parts(len(edges), pairs) == n_vertices, "faces at a vertex are not connected"


def assert_closed_manifold(faces: Tensor, n_vertices: int) -> None:
    """Fail unless the faces are an oriented manifold without boundary that uses every vertex."""
    assert_manifold(faces, n_vertices)
    assert len(boundary_edges(faces)) == 0, "the surface is open"


def shape_of(faces: Tensor) -> tuple[int, int, int]:
    """Return (Euler characteristic, components, boundary loops), which valid remeshing operations preserve."""
    array = faces.numpy()
    edges = edges_of(faces)
    used = np.unique(array)
    n_unused = int(array.max()) + 1 - len(used)
    rim = boundary_edges(faces)
    loops = _n_parts(int(array.max()) + 1, rim) - (int(array.max()) + 1 - len(np.unique(rim)))
    return len(used) - len(edges) + len(array), _n_parts(int(array.max()) + 1, edges) - n_unused, loops


def face_qualities(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return [F]: 1 for equilateral faces, 0 for degenerate ones."""
    a, b, c = vertices.double()[faces].unbind(1)
    squares = (a - b).square().sum(1) + (b - c).square().sum(1) + (c - a).square().sum(1)
    return 2 * 3**0.5 * torch.linalg.cross(b - a, c - a).norm(dim=1) / squares


def area_and_volume(vertices: Tensor, faces: Tensor) -> tuple[float, float]:
    """Return the area of the faces, and the volume that they enclose if they are closed."""
    a, b, c = vertices.double()[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    return float(normals.norm(dim=1).sum() / 2), float((a * normals).sum() / 6)


def edge_lengths(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return the edge lengths, [E] float64."""
    edges = torch.from_numpy(edges_of(faces))
    return (vertices.double()[edges[:, 0]] - vertices.double()[edges[:, 1]]).norm(dim=1)


def joined(*parts: Triangles) -> Triangles:
    """Join meshes into one; they share no vertices."""
    starts = [sum(len(part.vertices) for part in parts[:k]) for k in range(len(parts))]
    return Triangles(
        torch.cat([part.vertices for part in parts]),
        torch.cat([part.faces + start for part, start in zip(parts, starts, strict=True)]),
    )


_ball = cache(icosphere)


def _cut_holes(faces: Tensor, n_holes: int, rng: np.random.Generator) -> Tensor:
    """Remove the faces around `n_holes` random vertices."""
    for _ in range(n_holes):
        vertex = int(rng.choice(faces.unique().numpy()))
        faces = faces[(faces != vertex).all(1)]
    return faces


def random_surface(seed: int) -> tuple[Tensor, Tensor]:
    """Return vertices [V, 3] float64 and faces of a manifold: closed or open, stretched, noisy, of 1 to 3 parts."""
    rng = np.random.default_rng(seed)
    vertices, faces, n_before = [], [], 0
    for part in range(int(rng.choice([1, 1, 1, 2, 3]))):
        kind = rng.integers(5)
        if kind == 0:
            shape = _ball(int(rng.integers(0, 3)))
        elif kind == 1:
            shape = box(rng.uniform(0.3, 2, 3).tolist())
        elif kind == 2:
            shape = torus(1.0, float(rng.uniform(0.2, 0.7)), int(rng.integers(3, 12)), int(rng.integers(3, 8)))
        elif kind == 3:
            shape = plane(1.0, 1.0, int(rng.integers(1, 8)), int(rng.integers(1, 8)))
        else:
            ball = _ball(int(rng.integers(1, 3)))
            shape = ball._replace(faces=_cut_holes(ball.faces, int(rng.integers(1, 3)), rng))
        points = shape.vertices.double()
        spacing = edge_lengths(points, shape.faces).mean()
        noise = torch.from_numpy(rng.standard_normal((len(points), 3)))
        points = points + float(rng.choice([0, 0.02, 0.1, 0.3])) * spacing * noise
        stretch = torch.from_numpy(np.exp(rng.normal(0, float(rng.choice([0, 0.7])), 3)))
        vertices.append(points * stretch + 10.0 * part)
        faces.append(shape.faces[torch.from_numpy(rng.permutation(len(shape.faces)))] + n_before)
        n_before += len(points)
    joined = torch.cat(faces)
    used, joined = joined.unique(return_inverse=True)
    return torch.cat(vertices)[used], joined
