from __future__ import annotations

import pytest
import torch
from support.comparators import assert_gradients_agree

from diffrender.geometry.normals import face_normals, vertex_normals
from diffrender.geometry.primitives import icosphere, torus

ONE = torch.tensor([[0, 1, 2]])


def test_face_normal_by_hand() -> None:
    # Counter-clockwise seen from +z; twice the area of a triangle with legs 2 and 3.
    vertices = torch.tensor([[0.0, 0, 5], [2, 0, 5], [0, 3, 5]])
    assert face_normals(vertices, ONE).tolist() == [[0, 0, 6]]
    assert face_normals(vertices, ONE.flip(1)).tolist() == [[0, 0, -6]]


def test_vertex_normal_by_hand_is_weighted_by_area() -> None:
    # At vertex 0 a face of area 3/2 that faces +z meets one of area 2 that faces +x.
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 4]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    torch.testing.assert_close(normals[0], torch.tensor([4, 0, 3]) / 5.0)
    torch.testing.assert_close(normals[1], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(normals[3], torch.tensor([1.0, 0, 0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normals_of_a_sphere_point_away_from_its_centre(dtype: torch.dtype) -> None:
    vertices, faces = icosphere(3)
    normals = vertex_normals(vertices.to(dtype) * 3, faces)
    assert normals.dtype == dtype
    assert float((normals * vertices.to(dtype)).sum(1).min()) > 0.999
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(vertices), dtype=dtype))


def test_normals_of_the_faces_of_a_closed_shape_sum_to_zero() -> None:
    vertices, faces = torus(1.0, 0.4, 16, 9)
    vertices = vertices.double()
    normals = face_normals(vertices, faces)
    torch.testing.assert_close(normals.sum(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    # Divergence theorem: 6 x volume = sum of corner . normal; the torus's is close to 2 pi^2 R r^2.
    volume = float((vertices[faces[:, 0]] * normals).sum()) / 6
    assert volume == pytest.approx(2 * torch.pi**2 * 0.16, rel=0.2)


def test_normals_rotate_with_the_mesh() -> None:
    vertices, faces = torus(1.0, 0.4, 8, 6)
    vertices = vertices.double()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation)
    torch.testing.assert_close(
        vertex_normals(vertices @ rotation.T + 5, faces), vertex_normals(vertices, faces) @ rotation.T
    )


@pytest.mark.parametrize("size", [1e-20, 1e-12, 1e-6, 1e6, 1e10, 1e20])
def test_size_does_not_matter(size: float) -> None:
    vertices, faces = icosphere(1)
    expected = vertex_normals(vertices.double(), faces).float()
    scaled = (vertices.float() * size).requires_grad_()
    normals = vertex_normals(scaled, faces)
    torch.testing.assert_close(normals, expected, rtol=1e-5, atol=1e-6)
    weight = torch.linspace(-1, 1, normals.numel()).reshape(normals.shape)
    (grad,) = torch.autograd.grad((normals * weight).sum(), scaled)
    plain = vertices.double().requires_grad_()
    (expected,) = torch.autograd.grad((vertex_normals(plain, faces) * weight).sum(), plain)
    assert_gradients_agree(grad.double() * size, expected, relative_l2_at_most=1e-4, bias_at_most=1e-4,
                           cosine_at_least=0.99999, row_ratio_error_at_most=1e-2)  # fmt: skip


def test_gradient_is_the_derivative() -> None:
    vertices, faces = icosphere(0)
    vertices = (vertices.double() * torch.tensor([1, 1.3, 0.7])).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, faces), vertices)
    assert torch.autograd.gradcheck(lambda v: face_normals(v, faces), vertices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undefined_normals_are_zero_with_a_zero_gradient(dtype: torch.dtype) -> None:
    # A line, a repeated corner, a point, a face and its reverse, and a vertex without faces.
    vertices = torch.tensor([[0, 0, 0], [1, 1, 1], [3, 3, 3], [5, 0, 0], [6, 0, 0], [5, 1, 0], [9, 9, 9]], dtype=dtype)
    faces = torch.tensor([[0, 1, 2], [0, 0, 1], [2, 2, 2], [3, 4, 5], [3, 5, 4]])
    vertices.requires_grad_()
    normals = vertex_normals(vertices, faces)
    assert not bool(normals.any())
    (grad,) = torch.autograd.grad(normals.sum() + normals.square().sum(), vertices)
    assert not bool(grad.any())


def test_normals_that_cancel_have_a_bounded_gradient() -> None:
    # A huge face and its reverse, which differ by rounding only.
    vertices = torch.tensor([[0.0, 0, 0], [1e20, 0, 0], [0, 1e20, 0], [0, 1e20, 1e11]]).requires_grad_()
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]))
    assert not bool(normals[:2].any())
    torch.testing.assert_close(normals[2:], torch.tensor([[0.0, 0, 1], [0, 0, -1]]), atol=1e-6, rtol=0)
    (grad,) = torch.autograd.grad(normals.sum(), vertices)
    assert float(grad.abs().max()) < 1e-15


@pytest.mark.parametrize("height", [1e-45, 1e-30, 1e-15])
def test_a_needle_has_a_bounded_gradient(height: float) -> None:
    vertices = torch.tensor([[0, 0, 0], [0.5, 0, 0], [0, 0, height], [0, -0.5, 0]]).requires_grad_()
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 1, 3]]))
    torch.testing.assert_close(normals[:2], torch.tensor([[0.0, 0, -1], [0, 0, -1]]))
    (grad,) = torch.autograd.grad(normals.sum(), vertices)
    assert float(grad.abs().max()) < 10


def test_a_degenerate_face_next_to_a_good_one_changes_nothing() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [1, 0, 0]])
    good = vertex_normals(vertices, ONE)
    both = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]))
    assert torch.equal(good[:3], both[:3])


def test_no_faces_no_vertices() -> None:
    none = torch.zeros(0, 3, dtype=torch.int64)
    assert not bool(vertex_normals(torch.rand(4, 3), none).any())
    assert vertex_normals(torch.zeros(0, 3), none).shape == (0, 3)
    assert face_normals(torch.rand(4, 3), none).shape == (0, 3)


def test_same_bits_for_any_number_of_threads() -> None:
    vertices, faces = icosphere(5)
    vertices = vertices.float()
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        found.append(vertex_normals(vertices, faces))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_normals_that_cancel_up_to_rounding_are_none() -> None:
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.9, 0.3, 3e-7], [0.1, 0.8, 0]], requires_grad=True)
    normals = vertex_normals(points, torch.tensor([[0, 1, 2], [0, 2, 1], [0, 3, 4], [0, 4, 3]]))
    tilted = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1e-7]], requires_grad=True)
    found = vertex_normals(tilted, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert not normals.any() and not found[0].any() and not found[2].any()
    found.sum().backward()
    assert tilted.grad is not None and float(tilted.grad.abs().max()) < 10
