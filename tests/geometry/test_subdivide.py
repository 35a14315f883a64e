"""Subdivision: the counts, the surface, the smooth limit, and the attributes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from support.surfaces import area_and_volume, assert_manifold, boundary_edges, random_surface, shape_of

from diffrender.errors import MeshError, ShapeError
from diffrender.geometry.primitives import box, icosphere, plane, torus
from diffrender.geometry.subdivide import subdivide_loop, subdivide_midpoint
from diffrender.geometry.topology import Topology

BOTH = pytest.mark.parametrize("subdivide", [subdivide_midpoint, subdivide_loop])


@BOTH
@pytest.mark.parametrize("seed", range(20))
def test_four_faces_for_one_and_the_same_kind_of_surface(subdivide, seed: int) -> None:
    vertices, faces = random_surface(seed)
    values = torch.rand(len(vertices), 2).double()
    result = subdivide(vertices, faces, values, values[faces])
    edges = Topology(faces).edges
    assert len(result.faces) == 4 * len(faces) and len(result.vertices) == len(vertices) + len(edges)
    assert shape_of(result.faces) == shape_of(faces)
    assert_manifold(result.faces, len(result.vertices))
    # Without seams, corner attributes equal vertex attributes; both are means of the ends of an edge.
    torch.testing.assert_close(result.corner_attributes, result.attributes[result.faces])
    assert torch.equal(result.attributes[: len(vertices)], values)
    torch.testing.assert_close(result.attributes[len(vertices) :], values[edges].mean(1))


def test_midpoints_do_not_change_the_surface() -> None:
    vertices, faces = torus(1.0, 0.4, 8, 6)
    result = subdivide_midpoint(vertices, faces, vertices)
    assert area_and_volume(result.vertices, result.faces) == pytest.approx(area_and_volume(vertices, faces), rel=1e-6)
    assert torch.equal(result.attributes, result.vertices)
    # The parts of face f are faces 4 f to 4 f + 3, with its orientation.
    a, b, c = vertices[faces].unbind(1)
    parts = result.vertices[result.faces].reshape(-1, 4, 3, 3)
    normals = torch.linalg.cross(parts[:, :, 1] - parts[:, :, 0], parts[:, :, 2] - parts[:, :, 0])
    torch.testing.assert_close(4 * normals, torch.linalg.cross(b - a, c - a)[:, None].expand_as(normals))


def test_seams_stay_seams() -> None:
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    corners = torch.tensor([[[0.0], [2], [4]], [[10], [20], [30]]])
    result = subdivide_midpoint(torch.rand(4, 3), faces, corner_attributes=corners)
    assert result.corner_attributes[:4, :, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [1, 3, 2]]
    assert result.corner_attributes[4:, :, 0].tolist() == [[10, 15, 20], [15, 20, 25], [20, 25, 30], [15, 25, 20]]


def test_loop_by_hand() -> None:
    # A tetrahedron: every vertex has three neighbours, B = (5/8 - (3/8 - 1/8)^2) / 3 = 3/16.
    vertices = torch.tensor([[0.0, 0, 0], [16, 0, 0], [0, 16, 0], [0, 0, 16]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    result = subdivide_loop(vertices, faces)
    assert result.vertices[:2].tolist() == [[3, 3, 3], [7, 3, 3]]
    assert Topology(faces).edges[0].tolist() == [0, 1]
    assert result.vertices[4].tolist() == [6, 2, 2]


def test_loop_on_a_flat_grid_stays_flat_and_straight() -> None:
    vertices, faces = plane(2.0, 1.0, 4, 3)
    result = subdivide_loop(vertices, faces)
    assert result.vertices[:, 1].abs().max() == 0
    # Straight sides stay; the corners are rounded, as in a spline.
    rim = torch.from_numpy(boundary_edges(result.faces)).unique()
    x, _, z = result.vertices[rim].abs().unbind(1)
    on_side = ((x - 1).abs() < 1e-6) | ((z - 0.5).abs() < 1e-6)
    assert (~on_side).sum() == 4
    # Inside, a regular grid is reproduced: the rules for six neighbours preserve linear functions.
    inside = (vertices[:, 0].abs() < 0.9) & (vertices[:, 2].abs() < 0.4)
    torch.testing.assert_close(result.vertices[: len(vertices)][inside], vertices[inside])


def test_boundaries_do_not_depend_on_the_interior() -> None:
    vertices, faces = plane(1.0, 1.0, 5, 5)
    rim = torch.from_numpy(boundary_edges(faces)).unique()
    other = vertices.clone()
    inside = torch.ones(len(vertices), dtype=torch.bool)
    inside[rim] = False
    other[inside, 1] += 1
    first, second = subdivide_loop(vertices, faces), subdivide_loop(other, faces)
    new_rim = torch.from_numpy(boundary_edges(first.faces)).unique()
    assert torch.equal(first.vertices[new_rim], second.vertices[new_rim])


def test_loop_converges_to_a_smooth_surface() -> None:
    """The sharpest angle between neighbouring faces halves at every step."""
    mesh = box(1.0)
    angles = []
    for _ in range(5):
        vertices, faces, _, _ = subdivide_loop(*mesh)
        mesh = (vertices, faces)
        a, b, c = vertices.double()[faces].unbind(1)
        normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
        pairs = Topology(faces).edge_pairs
        angles.append(float((normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(1).clamp(-1, 1).acos().max()))
    assert angles[0] > math.radians(30)
    assert all(later < 0.65 * earlier for earlier, later in pairwise(angles[1:]))


@BOTH
def test_gradients_match_finite_differences(subdivide) -> None:
    vertices, faces = plane(1.0, 1.0, 2, 2)
    values = torch.rand(len(vertices), 2).double().requires_grad_()
    place = (vertices.double() + 0.1 * torch.rand(len(vertices), 3)).requires_grad_()
    corners = torch.rand(len(faces), 3, 2).double().requires_grad_()

    def floats(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = subdivide(given[0], faces, *given[1:])
        return result.vertices, result.attributes, result.corner_attributes

    assert torch.autograd.gradcheck(floats, (place, values, corners))


def test_unused_vertices_and_meeting_boundaries_stay() -> None:
    # Two triangles that touch at vertex 2; vertex 5 has no face.
    vertices = torch.rand(6, 3)
    result = subdivide_loop(vertices, torch.tensor([[0, 1, 2], [2, 3, 4]]))
    assert torch.equal(result.vertices[[2, 5]], vertices[[2, 5]])
    assert torch.isfinite(result.vertices).all()


@BOTH
def test_no_faces(subdivide) -> None:
    result = subdivide(torch.ones(2, 3), torch.zeros(0, 3, dtype=torch.int64), corner_attributes=torch.zeros(0, 3, 2))
    assert result.faces.shape == (0, 3) and torch.equal(result.vertices, torch.ones(2, 3))
    assert result.corner_attributes.shape == (0, 3, 2)


@BOTH
def test_bad_arguments_are_refused(subdivide) -> None:
    vertices, faces = icosphere(0)
    with pytest.raises(ShapeError, match=r"faces must be in 0\.\.11"):
        subdivide(vertices, faces + 1)
    with pytest.raises(ShapeError, match=r"attributes must have shape \[12, C\]"):
        subdivide(vertices, faces, vertices[:3])
    with pytest.raises(ShapeError, match=r"corner_attributes must have shape \[20, 3, D\]"):
        subdivide(vertices, faces, None, vertices)


def test_three_faces_at_an_edge_have_no_smooth_limit() -> None:
    faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    with pytest.raises(MeshError, match=r"got 3 of 3 faces at the edge of vertices \[0, 1\]"):
        subdivide_loop(torch.rand(5, 3), faces)
    assert len(subdivide_midpoint(torch.rand(5, 3), faces).faces) == 12
