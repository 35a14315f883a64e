import math

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.rotations import (
    axis_angle_to_matrix,
    matrix_to_quaternion,
    nearest_rotations,
    quaternion_to_matrix,
    rotation_angle,
)

DOUBLE = torch.float64


def random_quaternions(n, seed=0):
    return torch.randn(n, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def test_quarter_turn_about_z_takes_x_to_y():
    half = math.pi / 4
    matrix = quaternion_to_matrix(torch.tensor([math.cos(half), 0, 0, math.sin(half)], dtype=DOUBLE))
    torch.testing.assert_close(
        matrix @ torch.tensor([1.0, 0, 0], dtype=DOUBLE), torch.tensor([0.0, 1, 0], dtype=DOUBLE)
    )
    torch.testing.assert_close(matrix, axis_angle_to_matrix(torch.tensor([0, 0, math.pi / 2], dtype=DOUBLE)))


def test_quaternion_matrices_are_rotations_whatever_the_length():
    quaternions = random_quaternions(200)
    matrices = quaternion_to_matrix(quaternions * torch.logspace(-6, 6, 200, dtype=DOUBLE)[:, None])
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3, dtype=DOUBLE).expand(200, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(200, dtype=DOUBLE))
    torch.testing.assert_close(matrices, quaternion_to_matrix(-quaternions))


def test_product_of_matrices_is_product_of_quaternions():
    p, q = random_quaternions(50, 1), random_quaternions(50, 2)
    (pw, pv), (qw, qv) = ((x[:, :1], x[:, 1:]) for x in (p, q))
    product = torch.cat([pw * qw - (pv * qv).sum(1, True), pw * qv + qw * pv + torch.linalg.cross(pv, qv)], 1)
    torch.testing.assert_close(quaternion_to_matrix(product), quaternion_to_matrix(p) @ quaternion_to_matrix(q))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_matrix_to_quaternion_round_trip_also_at_half_turns(dtype):
    # w = 0 for half turns, where the textbook formula, which divides by w, fails.
    half_turns = torch.cat([torch.eye(4)[1:], torch.tensor([[0.0, 1, 1, 0], [0, 1, -1, 0], [1e-7, 0.3, -0.5, 0.8]])])
    quaternions = torch.cat([random_quaternions(200), half_turns, torch.eye(4)[:1]]).to(dtype)
    matrices = quaternion_to_matrix(quaternions)
    result = matrix_to_quaternion(matrices)
    assert (result[:, 0] >= 0).all()
    torch.testing.assert_close(torch.linalg.vector_norm(result, dim=1), torch.ones(len(result), dtype=dtype))
    torch.testing.assert_close(quaternion_to_matrix(result), matrices)


def test_conversions_keep_batch_shapes():
    quaternions = random_quaternions(24).reshape(2, 3, 4, 4)
    assert quaternion_to_matrix(quaternions).shape == (2, 3, 4, 3, 3)
    assert matrix_to_quaternion(quaternion_to_matrix(quaternions)).shape == (2, 3, 4, 4)
    assert axis_angle_to_matrix(quaternions[..., :3]).shape == (2, 3, 4, 3, 3)
    assert rotation_angle(*quaternion_to_matrix(quaternions).unbind(0)).shape == (3, 4)


def test_gradients_match_finite_differences():
    quaternions = random_quaternions(3).requires_grad_()
    vectors = torch.tensor([[0.0, 0, 0], [1e-3, 2e-3, -1e-3], [1.0, -2.0, 0.5]], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(quaternion_to_matrix, (quaternions,))
    assert torch.autograd.gradcheck(lambda q: matrix_to_quaternion(quaternion_to_matrix(q)), (quaternions,))
    assert torch.autograd.gradcheck(axis_angle_to_matrix, (vectors,))


def test_gradient_of_matrix_to_quaternion_is_finite_at_half_turns_and_identity():
    for quaternion in torch.eye(4, dtype=DOUBLE):
        matrix = quaternion_to_matrix(quaternion).requires_grad_()
        matrix_to_quaternion(matrix).sum().backward()
        assert matrix.grad is not None and torch.isfinite(matrix.grad).all()


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 0.00999, 0.01001, 0.5, math.pi - 1e-6, math.pi])
def test_axis_angle_turns_by_the_angle_about_the_axis(angle):
    axis = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.8], dtype=DOUBLE), dim=0)
    matrix = axis_angle_to_matrix(angle * axis)
    torch.testing.assert_close(matrix @ axis, axis)
    torch.testing.assert_close(matrix, _rodrigues(axis, angle), atol=1e-15, rtol=0)
    measured = rotation_angle(torch.eye(3, dtype=DOUBLE), matrix)
    torch.testing.assert_close(measured, torch.tensor(angle, dtype=DOUBLE), atol=1e-14, rtol=1e-9)


def test_small_angles_keep_their_digits_in_float32():
    vector = torch.tensor([3e-4, 0.0, 0.0])
    measured = rotation_angle(torch.eye(3), axis_angle_to_matrix(vector))
    torch.testing.assert_close(measured, torch.tensor(3e-4), atol=0, rtol=1e-6)


def test_rotation_angle_is_a_distance():
    a, b, c = (quaternion_to_matrix(random_quaternions(500, seed)) for seed in range(3))
    torch.testing.assert_close(rotation_angle(a, b), rotation_angle(b, a))
    torch.testing.assert_close(rotation_angle(c @ a, c @ b), rotation_angle(a, b), atol=1e-7, rtol=1e-7)
    assert (rotation_angle(a, c) <= rotation_angle(a, b) + rotation_angle(b, c) + 1e-9).all()


def test_wrong_shapes_are_named():
    with pytest.raises(
        ShapeError, match=r"quaternion_to_matrix: quaternion must have shape \[\.\.\., 4\], got \[5, 3\]"
    ):
        quaternion_to_matrix(torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"matrix_to_quaternion: matrix must have shape \[\.\.\., 3, 3\]"):
        matrix_to_quaternion(torch.zeros(4, 4))
    with pytest.raises(ShapeError, match="float"):
        axis_angle_to_matrix(torch.zeros(3, dtype=torch.int64))


def _rodrigues(axis, angle):
    x, y, z = axis.tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=DOUBLE)
    return torch.eye(3, dtype=DOUBLE) + math.sin(angle) * cross + 2 * math.sin(angle / 2) ** 2 * (cross @ cross)


def test_nearest_rotation_turns_one_set_of_vectors_onto_another():
    generator = torch.Generator().manual_seed(0)
    turn = axis_angle_to_matrix(torch.randn(20, 3, generator=generator, dtype=torch.float64))
    vectors = torch.randn(20, 3, 5, generator=generator, dtype=torch.float64)
    found = nearest_rotations(turn @ vectors @ vectors.transpose(1, 2))
    torch.testing.assert_close(found, turn)


def test_nearest_rotation_is_a_rotation_and_none_is_better():
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(50, 3, 3, generator=generator, dtype=torch.float64)  # half of them mirror
    found = nearest_rotations(matrix)
    torch.testing.assert_close(found @ found.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(50, dtype=torch.float64))
    best = (found * matrix).sum((1, 2))
    for _ in range(50):
        near = axis_angle_to_matrix(0.3 * torch.randn(50, 3, generator=generator, dtype=torch.float64))
        assert bool(((near @ found * matrix).sum((1, 2)) <= best + 1e-12).all())
    broken = torch.full((1, 3, 3), torch.nan)
    assert bool(torch.isfinite(nearest_rotations(broken)).all())
