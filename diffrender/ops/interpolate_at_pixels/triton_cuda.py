"""Values at points of the image and their gradient on CUDA. Coordinates and their gradient are in float64.

The gradients are summed as in ../triton_scatter.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.barycentrics.triton_cuda import (
    BLOCK,
    OPTIONS,
    add_gradient,
    find_corners,
    load_point,
    load_relative_corners,
    locate,
    locate_tangents,
)
from diffrender.ops.interpolate.triton_cuda import add_values_gradient, bary_gradient, write_tangents, write_values
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_scatter import find_runs
from diffrender.ops.triton_vec3 import load_triple


@triton.jit(do_not_specialize=["n", "n_verts"])
def evaluate(
    values, faces, face_id, verts, scene_faces, scene_face_id, views, xy, out, n, n_verts,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write values, one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(scene_face_id + m, here, other=0), tl.load(views + m, here, other=0)
    at, point = find_corners(scene_faces, face, view, n_verts, here), load_point(xy, m, here)
    bary, _ = locate(load_relative_corners(verts, at, point, here))
    write_values(out, m, values, load_triple(faces, tl.load(face_id + m, here, other=0), here), bary, here, CHANNELS)


@triton.jit(do_not_specialize=["n", "n_verts"])
def gradients(
    values, faces, face_id, verts, scene_faces, scene_face_id, views, xy, grad, total_values, total_verts, n, n_verts,
    CHANNELS: tl.constexpr, WANTS_VALUES: tl.constexpr, WANTS_VERTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the gradients of the points to total_values [V, C] and total_verts [N, V', 4], one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(scene_face_id + m, here, other=0), tl.load(views + m, here, other=-1)
    first, last = find_runs((view << 32) + face, here, BLOCK)
    at, point = find_corners(scene_faces, face, view, n_verts, here), load_point(xy, m, here)
    corners = load_relative_corners(verts, at, point, here)
    bary, scale = locate(corners)
    corner = load_triple(faces, tl.load(face_id + m, here, other=0), here)
    if WANTS_VALUES:
        add_values_gradient(total_values, grad, m, corner, bary, first, last, here, CHANNELS, BLOCK)
    if WANTS_VERTS:  # from float64, as only the differences of the corners' values count
        of_bary = bary_gradient(values, grad, m, corner, tl.zeros([BLOCK], tl.float64), here, CHANNELS)
        add_gradient(total_verts, at, corners, point, bary, scale, of_bary, first, last, BLOCK)


@triton.jit(do_not_specialize=["n", "n_verts", "n_values", "n_numbers", "n_tangents"])
def tangents_of(
    d_values, d_verts, values, faces, face_id, verts, scene_faces, scene_face_id, views, xy, out,
    n, n_verts, n_values, n_numbers, n_tangents,
    OF_VALUES: tl.constexpr, OF_VERTS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents of values, one point a lane.

    n_values, n_numbers: from one tangent of values, and of verts, to the next.
    """
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(scene_face_id + m, here, other=0), tl.load(views + m, here, other=0)
    at, point = find_corners(scene_faces, face, view, n_verts, here), load_point(xy, m, here)
    corners = load_relative_corners(verts, at, point, here)
    bary, scale = locate(corners)
    corner = load_triple(faces, tl.load(face_id + m, here, other=0), here)
    left = n_tangents
    while left > 0:
        # From float64, as only the differences of the corners' values count.
        moved = load_relative_corners(d_verts, at, point, here & OF_VERTS)
        d_bary = locate_tangents(corners, moved, bary, scale)
        write_tangents(out, m, d_values, values, corner, d_bary, bary, here, OF_VALUES, OF_VERTS, CHANNELS)
        d_values += n_values
        d_verts += n_numbers
        m += n
        left -= 1


def forward(
    values: Tensor, faces: Tensor, face_id: Tensor, verts_hom: Tensor, scene_faces: Tensor, scene_face_id: Tensor,
    view: Tensor, xy_px: Tensor,
) -> Tensor:  # fmt: skip
    """See op.interpolate_at_pixels."""
    inputs = (values, faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    n, channels = len(face_id), values.shape[1]
    out = torch.empty((n, channels), dtype=values.dtype, device=values.device)
    launch(
        evaluate, triton.cdiv(n, BLOCK), *(part.contiguous() for part in inputs), out, n, verts_hom.shape[1],
        CHANNELS=channels, **OPTIONS,
    )  # fmt: skip
    return out


def backward(
    grad_out: Tensor, values: Tensor, faces: Tensor, face_id: Tensor, verts_hom: Tensor, scene_faces: Tensor,
    scene_face_id: Tensor, view: Tensor, xy_px: Tensor, wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """See run_differentiable."""
    inputs = (values, faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px, grad_out)
    n, wants_values, wants_verts = len(face_id), wants[0], wants[3]
    grad_values = torch.zeros(values.shape, dtype=values.dtype, device=values.device) if wants_values else None
    grad_verts = torch.zeros(verts_hom.shape, dtype=values.dtype, device=values.device) if wants_verts else None
    launch(
        gradients, triton.cdiv(n, BLOCK), *(part.contiguous() for part in inputs),
        values if grad_values is None else grad_values, verts_hom if grad_verts is None else grad_verts,
        n, verts_hom.shape[1], CHANNELS=values.shape[1], WANTS_VALUES=wants_values, WANTS_VERTS=wants_verts,
        **OPTIONS,
    )  # fmt: skip
    return grad_values, None, None, grad_verts, None, None, None, None


def jvp(
    tangents: Sequence[Tensor | None], values: Tensor, faces: Tensor, face_id: Tensor, verts_hom: Tensor,
    scene_faces: Tensor, scene_face_id: Tensor, view: Tensor, xy_px: Tensor,
) -> Tensor:  # fmt: skip
    """See run_differentiable."""
    arguments = (values, faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    inputs = [part.contiguous() for part in arguments]
    moved, given = tangents_or((inputs[0], inputs[3]), (tangents[0], tangents[3]))
    n, n_tangents, channels = len(face_id), count_tangents(tangents), values.shape[1]
    out = torch.empty((n_tangents, n, channels), dtype=values.dtype, device=values.device)
    launch(
        tangents_of, triton.cdiv(n, BLOCK), *moved, *inputs, out,
        n, verts_hom.shape[1], values.numel(), verts_hom.numel(), n_tangents,
        OF_VALUES=given[0], OF_VERTS=given[1], CHANNELS=channels, **OPTIONS,
    )  # fmt: skip
    return out
