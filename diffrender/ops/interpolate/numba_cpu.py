"""Interpolation and its gradient on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import COLOR, as_numpy
from diffrender.ops.scatter import sum_into
from diffrender.ops.tangents import count_tangents
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, forceinline=True)
def evaluate_channels(start, end, n_channels, values, faces, face_id, bary, out):
    """Do as evaluate(), for a known number of channels."""
    for m in range(start, end):
        face = face_id[m]
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        b0, b1, b2 = bary[m, 0], bary[m, 1], bary[m, 2]
        for c in range(n_channels):
            out[m, c] = b0 * values[v0, c] + b1 * values[v1, c] + b2 * values[v2, c]


@njit(nogil=True, cache=True)
def evaluate(start, end, values, faces, face_id, bary, out):
    """Write the values at the points start..end-1."""
    if values.shape[1] == COLOR:  # known to the compiler, the loops over channels vanish
        evaluate_channels(start, end, COLOR, values, faces, face_id, bary, out)
    else:
        evaluate_channels(start, end, values.shape[1], values, faces, face_id, bary, out)


@njit(nogil=True, cache=True, forceinline=True)
def add_channels(start, end, n_channels, total, grad, faces, face_id, bary):
    """Do as add_values_gradient(), for a known number of channels."""
    for m in range(start, end):
        face = face_id[m]
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        b0, b1, b2 = bary[m, 0], bary[m, 1], bary[m, 2]
        for c in range(n_channels):
            g = grad[m, c]
            total[v0, c] += b0 * g
            total[v1, c] += b1 * g
            total[v2, c] += b2 * g


@njit(nogil=True, cache=True)
def add_values_gradient(start, end, total, grad, faces, face_id, bary):
    """Add bary times the gradient of the points start..end-1 to total [V, C]."""
    if grad.shape[1] == COLOR:
        add_channels(start, end, COLOR, total, grad, faces, face_id, bary)
    else:
        add_channels(start, end, grad.shape[1], total, grad, faces, face_id, bary)


@njit(nogil=True, cache=True, forceinline=True)
def bary_gradient_channels(start, end, n_channels, grad, values, faces, face_id, out):
    """Do as bary_gradient(), for a known number of channels."""
    for m in range(start, end):
        face = face_id[m]
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        s0, s1, s2 = 0.0, 0.0, 0.0
        for c in range(n_channels):
            g = grad[m, c]
            s0 += g * values[v0, c]
            s1 += g * values[v1, c]
            s2 += g * values[v2, c]
        out[m, 0], out[m, 1], out[m, 2] = s0, s1, s2


@njit(nogil=True, cache=True)
def bary_gradient(start, end, grad, values, faces, face_id, out):
    """Write the gradient with respect to the barycentric coordinates of the points start..end-1."""
    if grad.shape[1] == COLOR:
        bary_gradient_channels(start, end, COLOR, grad, values, faces, face_id, out)
    else:
        bary_gradient_channels(start, end, grad.shape[1], grad, values, faces, face_id, out)


def forward(values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor) -> Tensor:
    """See op.interpolate."""
    out = memory.empty((len(face_id), values.shape[1]), values.dtype)
    parallel_for(evaluate, len(face_id), 32768, *as_numpy(values, faces, face_id, bary), out.numpy())
    return out


def backward(
    grad_out: Tensor, values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor, wants: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_values, _, _, wants_bary = wants
    grad, values_array, faces_array, face_array, bary_array = as_numpy(grad_out, values, faces, face_id, bary)
    grad_values, grad_bary = None, None
    if wants_values:
        grad_values = sum_into(
            tuple(values.shape), values.dtype, len(face_id), add_values_gradient,
            grad, faces_array, face_array, bary_array,
        )  # fmt: skip
    if wants_bary:
        grad_bary = memory.empty(bary.shape, bary.dtype)
        arguments = (grad, values_array, faces_array, face_array, grad_bary.numpy())
        parallel_for(bary_gradient, len(face_id), 32768, *arguments)
    return grad_values, None, None, grad_bary


def jvp(tangents: Sequence[Tensor | None], values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor) -> Tensor:
    """See run_differentiable: the values are linear in each of the two."""
    of_values, _, _, of_bary = tangents
    out = memory.zeros((count_tangents(tangents), len(face_id), values.shape[1]), values.dtype)
    for k, total in enumerate(out):
        if of_values is not None:
            total += forward(of_values[k], faces, face_id, bary)
        if of_bary is not None:
            total += forward(values, faces, face_id, of_bary[k])
    return out
