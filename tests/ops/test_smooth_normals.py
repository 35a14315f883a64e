"""Unit normals of vertices: worked examples, and faces and sums that have none."""

from __future__ import annotations

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.triangle_soups import every_backend
from torch import Tensor

from diffrender.geometry.primitives import icosphere, torus
from diffrender.ops.smooth_normals import smooth_normals

ONE = torch.tensor([[0, 1, 2]])


def normals_of(vertices: Tensor, faces: Tensor, backend: str) -> Tensor:
    return smooth_normals(vertices, faces, faces, len(vertices), backend=backend)


@every_backend
def test_vertex_normal_by_hand_is_weighted_by_area(backend: str) -> None:
    # At vertex 0 a face of area 3/2 that faces +z meets one of area 2 that faces +x.
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 4]])
    normals = normals_of(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), backend)
    torch.testing.assert_close(normals[0], torch.tensor([4, 0, 3]) / 5.0)
    torch.testing.assert_close(normals[1], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(normals[3], torch.tensor([1.0, 0, 0]))


@every_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normals_of_a_sphere_point_away_from_its_centre(backend: str, dtype: torch.dtype) -> None:
    vertices, faces = icosphere(3)
    normals = normals_of(vertices.to(dtype) * 3, faces, backend)
    assert normals.dtype == dtype
    assert float((normals * vertices.to(dtype)).sum(1).min()) > 0.999
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(vertices), dtype=dtype))


@every_backend
def test_normals_rotate_with_the_mesh(backend: str) -> None:
    vertices, faces = torus(1.0, 0.4, 8, 6)
    vertices = vertices.double()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    rotation = rotation * torch.linalg.det(rotation)
    torch.testing.assert_close(
        normals_of(vertices @ rotation.T + 5, faces, backend), normals_of(vertices, faces, backend) @ rotation.T
    )


@every_backend
@pytest.mark.parametrize("size", [1e-20, 1e-12, 1e-6, 1e6, 1e10, 1e20])
def test_size_does_not_matter(backend: str, size: float) -> None:
    vertices, faces = icosphere(1)
    expected = normals_of(vertices.double(), faces, backend).float()
    scaled = (vertices.float() * size).requires_grad_()
    normals = normals_of(scaled, faces, backend)
    torch.testing.assert_close(normals, expected, rtol=1e-5, atol=1e-6)
    weight = torch.linspace(-1, 1, normals.numel()).reshape(normals.shape)
    (grad,) = torch.autograd.grad((normals * weight).sum(), scaled)
    plain = vertices.double().requires_grad_()
    (expected,) = torch.autograd.grad((normals_of(plain, faces, backend) * weight).sum(), plain)
    assert_gradients_agree(grad.double() * size, expected, relative_l2_at_most=1e-4, bias_at_most=1e-4,
                           cosine_at_least=0.99999, row_ratio_error_at_most=1e-2)  # fmt: skip


@every_backend
def test_gradient_is_the_derivative(backend: str) -> None:
    vertices, faces = icosphere(0)
    vertices = (vertices.double() * torch.tensor([1, 1.3, 0.7])).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: normals_of(v, faces, backend), vertices)


@every_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undefined_normals_are_zero_with_a_zero_gradient(backend: str, dtype: torch.dtype) -> None:
    # A line, a repeated corner, a point, a face and its reverse, and a vertex without faces.
    vertices = torch.tensor([[0, 0, 0], [1, 1, 1], [3, 3, 3], [5, 0, 0], [6, 0, 0], [5, 1, 0], [9, 9, 9]], dtype=dtype)
    faces = torch.tensor([[0, 1, 2], [0, 0, 1], [2, 2, 2], [3, 4, 5], [3, 5, 4]])
    vertices.requires_grad_()
    normals = normals_of(vertices, faces, backend)
    assert not bool(normals.any())
    (grad,) = torch.autograd.grad(normals.sum() + normals.square().sum(), vertices)
    assert not bool(grad.any())


@every_backend
def test_normals_that_cancel_have_a_bounded_gradient(backend: str) -> None:
    # A huge face and its reverse, which differ by rounding only.
    vertices = torch.tensor([[0.0, 0, 0], [1e20, 0, 0], [0, 1e20, 0], [0, 1e20, 1e11]]).requires_grad_()
    normals = normals_of(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]), backend)
    assert not bool(normals[:2].any())
    torch.testing.assert_close(normals[2:], torch.tensor([[0.0, 0, 1], [0, 0, -1]]), atol=1e-6, rtol=0)
    (grad,) = torch.autograd.grad(normals.sum(), vertices)
    assert float(grad.abs().max()) < 1e-15


@every_backend
@pytest.mark.parametrize("height", [1e-45, 1e-30, 1e-15])
def test_a_needle_has_a_bounded_gradient(backend: str, height: float) -> None:
    vertices = torch.tensor([[0, 0, 0], [0.5, 0, 0], [0, 0, height], [0, -0.5, 0]]).requires_grad_()
    normals = normals_of(vertices, torch.tensor([[0, 1, 2], [0, 1, 3]]), backend)
    torch.testing.assert_close(normals[:2], torch.tensor([[0.0, 0, -1], [0, 0, -1]]))
    (grad,) = torch.autograd.grad(normals.sum(), vertices)
    assert float(grad.abs().max()) < 10


@every_backend
def test_a_degenerate_face_next_to_a_good_one_changes_nothing(backend: str) -> None:
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [1, 0, 0]])
    good = normals_of(vertices, ONE, backend)
    both = normals_of(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]), backend)
    assert torch.equal(good[:3], both[:3])


@every_backend
def test_no_faces_no_vertices(backend: str) -> None:
    none = torch.zeros(0, 3, dtype=torch.int64)
    assert not bool(normals_of(torch.rand(4, 3), none, backend).any())
    assert normals_of(torch.zeros(0, 3), none, backend).shape == (0, 3)


@every_backend
def test_same_bits_for_any_number_of_threads(backend: str) -> None:
    vertices, faces = icosphere(5)
    vertices = vertices.float()
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        found.append(normals_of(vertices, faces, backend))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@every_backend
def test_normals_that_cancel_up_to_rounding_are_none(backend: str) -> None:
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.9, 0.3, 3e-7], [0.1, 0.8, 0]], requires_grad=True)
    normals = normals_of(points, torch.tensor([[0, 1, 2], [0, 2, 1], [0, 3, 4], [0, 4, 3]]), backend)
    tilted = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1e-7]], requires_grad=True)
    found = normals_of(tilted, torch.tensor([[0, 1, 2], [0, 2, 3]]), backend)
    assert not normals.any() and not found[0].any() and not found[2].any()
    found.sum().backward()
    assert tilted.grad is not None and float(tilted.grad.abs().max()) < 10


@every_backend
def test_a_corner_counts_for_the_normal_that_it_has(backend: str) -> None:
    """Across a hard edge two corners at one vertex have normals of their own."""
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 4]])
    faces, numbers = torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([[0, 1, 2], [3, 3, 2]])
    normals = smooth_normals(vertices, faces, numbers, 5, backend=backend)
    expected = torch.tensor([[0, 0, 5], [0, 0, 5], [4, 0, 3], [5, 0, 0], [0, 0, 0]]) / 5.0
    torch.testing.assert_close(normals, expected)
