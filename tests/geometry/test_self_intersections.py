from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.surfaces import joined
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.mesh_checks import self_intersections
from diffrender.geometry.primitives import Triangles, box, bumpy_sphere, icosphere, plane, torus
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.threads import threads_to_kernels

MESHES = Path(__file__).parents[3] / "shared" / "data" / "meshes"
TURN = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.7], dtype=torch.float64))


def moved(part: Triangles, by: Sequence[float]) -> Triangles:
    return Triangles(part.vertices.double() + torch.tensor(by, dtype=torch.float64), part.faces)


def turned(part: Triangles) -> Triangles:
    return Triangles(part.vertices.double() @ TURN.T, part.faces)


def pierces(start: Tensor, end: Tensor, corners: Tensor) -> Tensor:
    """Return [...]: whether segments cross triangles [..., 3, 3], by solving for the intersection point."""
    a, b, c = corners.unbind(-2)
    matrix = torch.stack([b - a, c - a, start - end], -1)
    # Not finite if the segment is parallel to the triangle: then no comparison is true.
    v, w, t = torch.linalg.solve_ex(matrix, (start - a)[..., None])[0][..., 0].unbind(-1)
    return (v > 0) & (w > 0) & (v + w < 1) & (t > 0) & (t < 1)


def pairs_by_piercing(surface: Triangles) -> list[list[int]]:
    """Return all pairs of faces where an edge of one pierces the other; for corners in general position."""
    corners = surface.vertices.double()[surface.faces]
    n = len(corners)
    i, j = torch.triu_indices(n, n, 1)
    low, high = corners.amin(1), corners.amax(1)
    near = ((low[i] <= high[j]) & (low[j] <= high[i])).all(1)
    i, j = i[near], j[near]
    crosses = torch.zeros(len(i), dtype=torch.bool)
    for one, other in ((i, j), (j, i)):
        for k in range(3):
            edge = surface.faces[one][:, [k, (k + 1) % 3]]
            # An edge from a shared corner starts on the other triangle: it does not pierce it.
            shares = (edge[:, :, None] == surface.faces[other][:, None]).any(2).any(1)
            start, end = corners[one, k][~shares], corners[one, (k + 1) % 3][~shares]
            crosses[~shares] |= pierces(start, end, corners[other][~shares])
    return torch.stack([i, j], 1)[crosses].tolist()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n_faces=st.integers(2, 60), n_vertices=st.integers(5, 200))
def test_pairs_match_brute_force(seed: int, n_faces: int, n_vertices: int) -> None:
    """Random triangles in general position, with shared corners and edges where there are few vertices."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn((n_vertices, 3), generator=generator, dtype=torch.float64)
    weights = torch.ones(n_faces, n_vertices)
    faces = torch.multinomial(weights, 3, generator=generator).sort(1).values.unique(dim=0)
    surface = Triangles(vertices, faces)
    assert self_intersections(surface).tolist() == pairs_by_piercing(surface)


def test_pairs_of_two_crossing_spheres_and_any_number_of_threads() -> None:
    surface = joined(icosphere(3), moved(icosphere(2, 0.8), (0.71, 0.13, 0.07)))
    expected = pairs_by_piercing(surface)
    assert len(expected) > 50
    for n_threads in (1, 3):
        with threads_to_kernels(n_threads):
            assert self_intersections(surface).tolist() == expected
    assert len(self_intersections(joined(icosphere(3), moved(icosphere(3), (2.01, 0, 0))))) == 0
    assert len(self_intersections(joined(icosphere(3), icosphere(3, 0.5)))) == 0


def test_pairs_of_two_crossing_boxes() -> None:
    surface = joined(box(), moved(box(), (0.31, 0.42, 0.17)))
    expected = pairs_by_piercing(surface)
    assert self_intersections(surface).tolist() == expected
    assert self_intersections(turned(surface)).tolist() == expected
    # A rod through a plate: all faces of the rod except those at its ends pierce it.
    rod = joined(box((4, 4, 0.5)), moved(box((0.5, 0.5, 4)), (0.9, -0.8, 0.1)))
    by_side = {tuple(sorted(pair)) for pair in self_intersections(rod).tolist()}
    assert {max(pair) - 12 for pair in by_side} == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11} - caps_along_z()


def caps_along_z() -> set[int]:
    """Return the faces of `box` that face along the z axis."""
    vertices, faces = box()
    return {f for f, face in enumerate(faces.tolist()) if len({float(vertices[v, 2]) for v in face}) == 1}


FIRST = [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]


@pytest.mark.parametrize(
    ("second", "crosses"),
    [
        ([[0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 0]], True),  # through the interior
        ([[0.5, 0.5, 0], [0.5, 0.7, 1], [0.7, 0.5, 1]], False),  # touches with a corner
        ([[0.5, 0.5, 0], [0.8, 0.5, 0], [0.5, 0.5, 1]], True),  # an edge on the interior
        ([[0.5, 0, 0], [1.5, 0, 0], [1, -1, 1]], False),  # an edge along an edge
        ([[0.5, 0.5, 0], [1, 0.5, 0], [0.5, 1, 0]], True),  # coplanar, inside
        ([[0.5, 0.5, 1e-9], [1, 0.5, 1e-9], [0.5, 1, 1e-9]], False),  # slightly above
        ([[3, 3, 0], [4, 3, 0], [3, 4, 0]], False),  # coplanar, apart
        ([[2, 0, 0], [2, 2, 0], [0, 2, 0]], False),  # the other half of a square
        ([[2, 0, 0], [0.1, 0.1, 0], [0, 2, 0]], True),  # a neighbour that is folded back
        ([[2, 0, 0], [0.1, 0.1, 1e-3], [0, 2, 0]], False),  # a neighbour that is nearly folded back
        ([[0, 0, 0], [2, 0, 0], [0, 2, 0]], True),  # a duplicate
        ([[0, 2, 0], [2, 0, 0], [0, 0, 0]], True),  # a reversed duplicate
        ([[0, 0, 0], [1, 0.5, 1], [0.5, 1, -1]], True),  # shares a corner and goes through
        ([[0, 0, 0], [-1, 0.5, 1], [-0.5, 1, -1]], False),  # shares a corner and passes by
        ([[0, 0, 0], [-1, -1, 1], [-1, -1, -1]], False),  # shares a corner and points away
        ([[0, 0, 0], [1, 1, 0], [0, 0, 1]], True),  # shares a corner, an edge on the interior
        ([[0, 0, 0], [2, 0, 0], [0, 0, 1]], False),  # shares an edge
        ([[1, 0, 0], [3, 0, 0], [1, 0, 1]], False),  # an edge along part of an edge
        ([[1, 1, -1], [1, 1, 1], [3, 3, 0]], False),  # an edge crossing an edge in a point
        ([[0.9, 0.9, -1], [0.9, 0.9, 1], [3, 3, 0]], True),  # through the interior and an edge
        ([[0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, 0.5, 0]], False),  # a point
        ([[0.5, 0.5, -1], [0.5, 0.5, 0], [0.5, 0.5, 1]], False),  # no area
    ],
)
def test_what_counts(second: list[list[float]], crosses: bool) -> None:
    vertices = torch.tensor([*FIRST, *second], dtype=torch.float64)
    for scale in (1.0, 1e-6, 1e6):
        for turn in range(6):
            other = torch.tensor([3, 4, 5]).roll(turn % 3)
            faces = torch.stack([torch.arange(3), other if turn < 3 else other.flip(0)])
            assert len(self_intersections(Triangles(scale * vertices, faces))) == int(crosses)
            assert len(self_intersections(Triangles(scale * vertices, faces.flip(0)))) == int(crosses)


@pytest.mark.parametrize(
    "surface",
    [icosphere(4), torus(1.0, 0.3, 60, 30), box((1, 2, 3)), plane(3, 2, 30, 20), bumpy_sphere(4), torus(1, 0.999)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_valid_meshes_have_none_whatever_their_position_and_rounding(surface: Triangles, dtype: torch.dtype) -> None:
    vertices = surface.vertices.double()
    for placed in (vertices, vertices @ TURN.T, 1e-3 * vertices @ TURN.T + 7.0, 1e4 * vertices - 3e3):
        assert len(self_intersections(Triangles(placed.to(dtype), surface.faces))) == 0


@pytest.mark.skipif(not MESHES.is_dir(), reason="needs the example meshes")
@pytest.mark.parametrize("file", ["spot/spot.obj", "blub/blub_triangulated.obj"])
def test_animals_have_none(file: str) -> None:
    mesh = read_mesh(MESHES / file).mesh
    for vertices in (mesh.vertices.double(), mesh.vertices.double() @ TURN.T):
        assert len(self_intersections(Triangles(vertices, mesh.faces))) == 0


def test_corners_with_equal_coordinates_are_one_corner() -> None:
    """A mesh whose faces share no vertex index, as in file formats without indices."""
    sphere = icosphere(3)
    loose = Triangles(sphere.vertices[sphere.faces].reshape(-1, 3), torch.arange(3 * len(sphere.faces)).reshape(-1, 3))
    assert len(self_intersections(loose)) == 0


def test_a_sphere_pulled_through_itself() -> None:
    sphere = icosphere(3)
    vertices = sphere.vertices.clone()
    vertices[0] = -1.3 * vertices[0]
    surface = Triangles(vertices, sphere.faces)
    found = self_intersections(surface).tolist()
    assert found == pairs_by_piercing(surface)
    assert found


def test_memory_is_fully_written(poisoned_memory) -> None:
    surface = joined(icosphere(2), moved(icosphere(2), (0.7, 0.1, 0.2)))
    expected = self_intersections(surface)
    with poisoned_memory():
        assert torch.equal(self_intersections(surface), expected)


def test_empty_and_invalid_meshes() -> None:
    assert self_intersections(Triangles(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))).shape == (0, 2)
    with pytest.raises(ShapeError, match="self_intersections: vertices must be finite"):
        self_intersections(Triangles(torch.full((3, 3), torch.inf), torch.tensor([[0, 1, 2]])))
