from __future__ import annotations

import pytest
import torch

from diffrender.geometry.normals import face_normals, vertex_normals
from diffrender.geometry.primitives import icosphere, torus

ONE = torch.tensor([[0, 1, 2]])


def test_face_normal_by_hand() -> None:
    # Counter-clockwise seen from +z; twice the area of a triangle with legs 2 and 3.
    vertices = torch.tensor([[0.0, 0, 5], [2, 0, 5], [0, 3, 5]])
    assert face_normals(vertices, ONE).tolist() == [[0, 0, 6]]
    assert face_normals(vertices, ONE.flip(1)).tolist() == [[0, 0, -6]]


def test_normals_of_the_faces_of_a_closed_shape_sum_to_zero() -> None:
    vertices, faces = torus(1.0, 0.4, 16, 9)
    vertices = vertices.double()
    normals = face_normals(vertices, faces)
    torch.testing.assert_close(normals.sum(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    # Divergence theorem: 6 x volume = sum of corner . normal; the torus's is close to 2 pi^2 R r^2.
    volume = float((vertices[faces[:, 0]] * normals).sum()) / 6
    assert volume == pytest.approx(2 * torch.pi**2 * 0.16, rel=0.2)


def test_vertex_normals_are_weighted_by_area() -> None:
    # At vertex 0 a face of area 3/2 that faces +z meets one of area 2 that faces +x; ops.smooth_normals has more.
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 4]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    torch.testing.assert_close(normals, torch.tensor([[4, 0, 3], [0, 0, 5], [4, 0, 3], [5, 0, 0]]) / 5.0)


def test_no_faces_have_no_normals() -> None:
    none = torch.zeros(0, 3, dtype=torch.int64)
    assert face_normals(torch.rand(4, 3), none).shape == (0, 3)
    assert vertex_normals(torch.zeros(0, 3), none).shape == (0, 3)


def test_gradient_of_a_face_normal_is_its_derivative() -> None:
    vertices, faces = icosphere(0)
    vertices = (vertices.double() * torch.tensor([1, 1.3, 0.7])).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: face_normals(v, faces), vertices)
