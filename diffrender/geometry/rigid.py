"""Rigid motions as [..., 4, 4] matrices: x' = rotation x + translation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_float, check_shape
from diffrender.derivatives import constant, on_plain_tensors
from diffrender.errors import ShapeError
from diffrender.list_sizes import is_kept

# Converts between the camera axes of OpenGL and glTF (x right, y up, looking along -z) and ours, those of OpenCV (y
# down, z forward): a rotation by 180 degrees about x, its own inverse.
OPENCV_FROM_OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
# A 3x3 part whose least stretch, squared, is below this part of the largest is of no rotation.
FLAT = 1e-12
# Tolerance of orthonormality: files store poses with 4 to 6 digits.
RIGID_TOLERANCE = 1e-3
# That of poses that are rendered: derivatives are measured, and steps made, in single numbers of the matrix.
RENDERED_TOLERANCE = 0.1
FEW = 32


def make_rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return the matrices [..., 4, 4] of rotations [..., 3, 3] and translations [..., 3]; differentiable in both."""
    if tuple(rotation.shape[-2:]) != (3, 3):
        raise ShapeError(f"make_rigid: rotation must have shape [..., 3, 3], got {list(rotation.shape)}")
    if translation.dim() < 1 or translation.shape[-1] != 3:
        raise ShapeError(f"make_rigid: translation must have shape [..., 3], got {list(translation.shape)}")
    # Not torch.broadcast_shapes, whose first call imports sympy and takes a third of a second.
    batch = torch.broadcast_tensors(rotation[..., 0, 0], translation[..., 0])[0].shape
    top = torch.cat([rotation.expand(*batch, 3, 3), translation.expand(*batch, 3)[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*batch, 1, 4)
    return torch.cat([top, bottom], -2)


def invert_rigid(matrix: Tensor) -> Tensor:
    """Return the inverses [..., 4, 4] of rigid motions [..., 4, 4]: (R, t) -> (R^T, -R^T t); differentiable."""
    _check_4x4("invert_rigid", "matrix", matrix)
    inverse_rotation = matrix[..., :3, :3].transpose(-1, -2)
    return make_rigid(inverse_rotation, -(inverse_rotation @ matrix[..., :3, 3:]).squeeze(-1))


def look_at(eye: Tensor, target: Tensor | Sequence[float], up: Tensor | Sequence[float]) -> Tensor:
    """Return cam_from_world [N, 4, 4] of cameras at `eye` [N, 3] that look at `target` with `up` upwards in the image.

    target, up: [3] or [N, 3]. Raises ShapeError if an eye is at its target or looks straight along `up`.
    """
    check_shape("look_at", "eye", eye, ("N", 3))
    check_float("look_at", "eye", eye)
    target = torch.as_tensor(target, dtype=eye.dtype, device=eye.device).expand_as(eye)
    up = torch.as_tensor(up, dtype=eye.dtype, device=eye.device).expand_as(eye)
    forward = target - eye
    right = torch.linalg.cross(forward, up)
    if bool((right.norm(dim=1) <= 1e-6 * forward.norm(dim=1) * up.norm(dim=1)).any()):
        raise ShapeError("look_at: eye must differ from target, and up must not be parallel to the viewing direction")
    forward = torch.nn.functional.normalize(forward, dim=1)
    right = torch.nn.functional.normalize(right, dim=1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], 1)
    cam_from_world = torch.eye(4, dtype=eye.dtype, device=eye.device).repeat(len(eye), 1, 1)
    cam_from_world[:, :3, :3] = rotation
    cam_from_world[:, :3, 3] = -(rotation @ eye[:, :, None])[:, :, 0]
    return cam_from_world


def check_rigid(function: str, argument: str, matrix: Tensor, tol: float = 1e-4) -> None:
    """Raise ShapeError unless `matrix` [..., 4, 4] is finite: a rotation, a translation and the last row 0 0 0 1.

    tol: maximum deviation of R R^T from the identity and of the last row from (0, 0, 0, 1), per entry.
    The message names the first invalid matrix of a batch and its fault: a scale, a shear or a mirror image.
    """
    _check_4x4(function, argument, matrix)
    check_float(function, argument, matrix)
    if is_kept():
        return
    plain = constant(matrix)
    # Objects and cameras are made often: for a few matrices plain numbers cost less than tensor operations.
    is_few = plain.numel() <= 16 * FEW
    if not is_few or not all(_is_rigid(rows, tol) for rows in plain.reshape(-1, 4, 4).tolist()):
        _check_all_rigid(function, argument, plain, tol)


def _is_rigid(rows: list[list[float]], tol: float) -> bool:
    """Return whether one matrix is rigid."""
    (a, b, c, x), (d, e, f, y), (g, h, i, z), (p, q, r, s) = rows
    squares = (a * a + b * b + c * c, d * d + e * e + f * f, g * g + h * h + i * i)
    products = (a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i)
    is_orthonormal = all(abs(n - 1) <= tol for n in (*squares, s)) and all(abs(n) <= tol for n in (*products, p, q, r))
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return is_orthonormal and determinant >= 0 and math.isfinite(x + y + z)


@on_plain_tensors()
def _check_all_rigid(function: str, argument: str, matrix: Tensor, tol: float) -> None:
    flat = matrix.reshape(-1, 4, 4).double().cpu()  # one wait for the device
    off_row = (flat[:, 3] - flat.new_tensor([0.0, 0.0, 0.0, 1.0])).abs().amax(-1)
    x, y, z = flat[:, :3, :3].unbind(1)
    mirrored = (torch.linalg.cross(x, y) * z).sum(1) < 0
    gram = (flat[:, :3, None, :3] * flat[:, None, :3, :3]).sum(3)
    off_orthonormal = (gram - torch.eye(3, dtype=flat.dtype, device=flat.device)).abs().amax((-1, -2))
    bad = ~((off_row <= tol) & (off_orthonormal <= tol) & flat[:, :3, 3].isfinite().all(1)) | mirrored
    if not bool(bad.any()):
        return
    check_finite(function, argument, matrix)
    index = int(bad.nonzero()[0])
    if off_row[index] > tol:
        fault = f"its last row must be [0, 0, 0, 1], got {_format_numbers(flat[index, 3])}"
        if float((flat[index, :, 3] - flat.new_tensor([0.0, 0.0, 0.0, 1.0])).abs().max()) <= tol:
            fault = f"it is transposed: {fault}, which is the translation and belongs in the last column"
    elif off_orthonormal[index] > tol:
        fault = _explain_not_orthonormal(gram[index], tol)
    else:
        fault = "its determinant is negative, a mirror image; flip the sign of one axis"
    position = _format_position(index, matrix.shape[:-2])
    raise ShapeError(f"{function}: {argument}{position} must be a rigid motion (rotation and translation), but {fault}")


def _explain_not_orthonormal(gram: Tensor, tol: float) -> str:
    """Say what is wrong with a matrix whose R R^T is `gram`."""
    lengths = gram.diagonal().sqrt()
    shear = gram - torch.diag(gram.diagonal())
    if not bool(gram.isfinite().all()):
        return "the squares of its numbers are more than a float64 holds; export the pose again"
    if float(torch.linalg.eigvalsh(gram)[0]) <= FLAT * float(lengths.max()) ** 2:
        return f"its 3x3 part is singular: rows of length {_format_numbers(lengths)}; export the pose again"
    if bool((lengths - lengths.mean()).abs().max() <= tol * lengths.mean()) and bool(
        shear.abs().max() <= tol * lengths.mean() ** 2
    ):
        return f"its rotation is scaled by {lengths.mean():.6g}; divide the 3x3 part by that and store the scale apart"
    return (
        f"its 3x3 part is not orthonormal: rows of length {_format_numbers(lengths)}, a scale or a shear of more than"
        f" {tol:g}; export the pose again, with more digits"
    )


def _format_numbers(values: Tensor) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in values.tolist()) + "]"


def _format_position(flat_index: int, batch: torch.Size) -> str:
    if len(batch) == 0:
        return ""
    position = torch.unravel_index(torch.tensor(flat_index), batch)
    return "[" + ", ".join(str(int(i)) for i in position) + "]"


def _check_4x4(function: str, argument: str, value: Tensor) -> None:
    if value.dim() < 2 or tuple(value.shape[-2:]) != (4, 4):
        raise ShapeError(f"{function}: {argument} must have shape [..., 4, 4], got {list(value.shape)}")
