"""Rotations as quaternions (w, x, y, z), axis-angle vectors and matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.checks import check_float
from diffrender.errors import ShapeError


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] of quaternions [..., 4] (w, x, y, z) of any non-zero length.

    q and 3 q are the same rotation, so a quaternion can be optimised without constraints.
    Differentiable; the gradient is perpendicular to q. A quaternion of length zero gives NaN.
    """
    _check_last("quaternion_to_matrix", "quaternion", quaternion, 4)
    w, x, y, z = (quaternion / torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Return the unit quaternions [..., 4] (w, x, y, z), w >= 0, of rotation matrices [..., 3, 3].

    Differentiable everywhere. Every row (and column) of 4 q q^T is a multiple of q that is linear in the matrix; the
    row with the largest diagonal entry has length at least 1, so dividing by it is stable for every rotation.
    Source: I. Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix" (2000), the matrix K.
    """
    _check_matrix("matrix_to_quaternion", "matrix", matrix)
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (row.unbind(-1) for row in matrix.unbind(-2))
    rows = [
        1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01,
        m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20,
        m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12,
        m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22,
    ]  # fmt: skip
    outer = torch.stack(rows, -1).unflatten(-1, (4, 4))
    best = outer.detach().diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    unit = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def axis_angle_to_matrix(vector: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] about the axes `vector` [..., 3], by their lengths in radians.

    Differentiable everywhere, including zero.
    Rodrigues' formula: R = I + sin(t)/t K + (1 - cos(t))/t^2 K^2, K v = vector x v.
    """
    _check_last("axis_angle_to_matrix", "vector", vector, 3)
    # Not of no dimension: PyTorch gives those, times a number of Python, tangents in float64.
    angle2 = (vector * vector).sum(-1, keepdim=True)
    # Below this the series are exact to rounding (next terms t^4/120 and t^4/720), and sqrt has no gradient at 0.
    small = angle2 < 1e-4
    angle = torch.where(small, 1.0, angle2).sqrt()
    a = torch.where(small, 1 - angle2 / 6 * (1 - angle2 / 20), angle.sin() / angle)
    # (1 - cos t) / t^2 from the half angle: the direct form loses all digits for small t.
    half_sinc = (angle / 2).sin() / (angle / 2)
    b = torch.where(small, 0.5 - angle2 / 24 * (1 - angle2 / 30), 0.5 * half_sinc * half_sinc)
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + a[..., None] * cross + b[..., None] * (cross @ cross)


def nearest_rotations(matrix: Tensor) -> Tensor:
    """Return the rotations R [..., 3, 3] that maximize trace(R^T matrix) for matrices [..., 3, 3]; without gradient.

    For the sum of w b a^T over pairs of vectors, R is the least-squares rotation of the a onto the b. If several are
    equally good, any of them is returned; those of matrices with a NaN or an infinity are finite but meaningless.
    Source: W. Kabsch, "A discussion of the solution for the best rotation to relate two sets of vectors" (1978).
    """
    _check_matrix("nearest_rotations", "matrix", matrix)
    u, _, vh = torch.linalg.svd(matrix.detach().nan_to_num(0, 0, 0))
    last = torch.linalg.det(u @ vh)[..., None, None]
    return u @ torch.cat([vh[..., :2, :], vh[..., 2:, :] * last], -2)


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle [...] in radians, 0..pi, of the rotation from `a` to `b`, both [..., 3, 3].

    Computed from sine and cosine, so that angles near 0 and pi are accurate.
    """
    _check_matrix("rotation_angle", "a", a)
    _check_matrix("rotation_angle", "b", b)
    relative = a.transpose(-1, -2) @ b
    axis = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    twice_sine = torch.linalg.vector_norm(axis, dim=-1)
    twice_cosine = relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1
    return torch.atan2(twice_sine, twice_cosine)


def _check_last(function: str, argument: str, value: Tensor, size: int) -> None:
    if value.dim() < 1 or value.shape[-1] != size:
        raise ShapeError(f"{function}: {argument} must have shape [..., {size}], got {list(value.shape)}")
    check_float(function, argument, value)


def _check_matrix(function: str, argument: str, value: Tensor) -> None:
    if value.dim() < 2 or tuple(value.shape[-2:]) != (3, 3):
        raise ShapeError(f"{function}: {argument} must have shape [..., 3, 3], got {list(value.shape)}")
    check_float(function, argument, value)
