"""Texture coordinates, their derivatives and the gradients of both on CUDA. Arithmetic in float64; see NOTES.md.

All places count from the point itself, which is then (0, 0, 1). The gradients are summed as in ../triton_scatter.py.
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
    add_corner_gradient,
    find_corners,
    load_point,
    load_relative_corners,
)
from diffrender.ops.screen_uvs.op import LARGEST
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_scatter import add_runs, find_runs
from diffrender.ops.triton_vec3 import cross, dot, load_triple, plus


@triton.jit
def combine(a, b, c, weights):
    """Return the sum of three triples, times a weight each."""
    u, v, w = weights
    return a[0] * u + b[0] * v + c[0] * w, a[1] * u + b[1] * v + c[1] * w, a[2] * u + b[2] * v + c[2] * w


@triton.jit
def load_coordinates(uvs, corner, axis, here):
    """Return u or v of the three corners in float64."""
    a = tl.load(uvs + 2 * corner[0] + axis, here, other=0)
    b = tl.load(uvs + 2 * corner[1] + axis, here, other=0)
    c = tl.load(uvs + 2 * corner[2] + axis, here, other=0)
    return a.to(tl.float64), b.to(tl.float64), c.to(tl.float64)


@triton.jit
def find_lines(corners):
    """Return the lines opposite the three corners, their sum, and 1 / its value at the point: 0 if seen edge-on."""
    a, b, c = corners
    l0, l1, l2 = cross(b, c), cross(c, a), cross(a, b)
    d = (l0[0] + l1[0] + l2[0], l0[1] + l1[1] + l2[1], l0[2] + l1[2] + l2[2])
    is_edge_on = d[2] == 0
    return (l0, l1, l2), d, tl.where(is_edge_on, 0.0, 1.0 / tl.where(is_edge_on, 1.0, d[2]))


@triton.jit
def differentiate(lines, d, scale, coordinates):
    """Return a coordinate at the point, and its derivatives by x and y."""
    n = combine(lines[0], lines[1], lines[2], coordinates)
    value = scale * n[2]
    return value, scale * (n[0] - value * d[0]), scale * (n[1] - value * d[1])


@triton.jit
def hold(value, LARGEST: tl.constexpr):
    """Return values within -LARGEST..LARGEST; a NaN stays one."""
    return tl.where(value > LARGEST, LARGEST, tl.where(value < -LARGEST, -LARGEST, value))


@triton.jit(do_not_specialize=["n", "n_verts"])
def evaluate(
    uvs, uv_faces, face_id, verts, faces, scene_face_id, views, xy, out_uv, out_derivatives, n, n_verts,
    LARGEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write coordinates [M, 2] and derivatives [M, 2, 2], one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(scene_face_id + m, here, other=0), tl.load(views + m, here, other=0)
    at, point = find_corners(faces, face, view, n_verts, here), load_point(xy, m, here)
    lines, d, scale = find_lines(load_relative_corners(verts, at, point, here))
    corner = load_triple(uv_faces, tl.load(face_id + m, here, other=0), here)
    for axis in tl.static_range(2):
        value, by_x, by_y = differentiate(lines, d, scale, load_coordinates(uvs, corner, axis, here))
        tl.store(out_uv + 2 * m + axis, value, here)
        tl.store(out_derivatives + 4 * m + 2 * axis, hold(by_x, LARGEST), here)
        tl.store(out_derivatives + 4 * m + 2 * axis + 1, hold(by_y, LARGEST), here)


@triton.jit
def lines_gradient(grad_uv, grad_derivatives, m, axis, lines, d, scale, coordinates, here, LARGEST: tl.constexpr):
    """Return the gradient of one coordinate and its derivatives with respect to n and d of NOTES.md."""
    value, by_x, by_y = differentiate(lines, d, scale, coordinates)
    g = tl.load(grad_uv + 2 * m + axis, here, other=0)
    gx = tl.load(grad_derivatives + 4 * m + 2 * axis, here, other=0)
    gy = tl.load(grad_derivatives + 4 * m + 2 * axis + 1, here, other=0)
    gx = tl.where(tl.abs(by_x) <= LARGEST, gx * scale, 0.0)
    gy = tl.where(tl.abs(by_y) <= LARGEST, gy * scale, 0.0)
    r = scale * (g - gx * d[0] - gy * d[1])
    return (gx, gy, r), (-gx * value, -gy * value, -(r * value + gx * by_x + gy * by_y))


@triton.jit
def add_from_lines(total, at, next, last, of_next, of_last, point, first, ends, BLOCK: tl.constexpr):
    """Add the gradient of the lines of_next = last x v and of_last = v x next to the corner v at total[at]."""
    a, b = cross(of_next, last), cross(next, of_last)
    add_corner_gradient(total, at, a[0] + b[0], a[1] + b[1], a[2] + b[2], point, first, ends, BLOCK)


@triton.jit(do_not_specialize=["n", "n_verts"])
def gradients(
    uvs, uv_faces, face_id, verts, faces, scene_face_id, views, xy, grad_uv, grad_derivatives, total_uvs, total_verts,
    n, n_verts, LARGEST: tl.constexpr, WANTS_UVS: tl.constexpr, WANTS_VERTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the gradients of the points to total_uvs [T, 2] and total_verts [N, V, 4], one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(scene_face_id + m, here, other=0), tl.load(views + m, here, other=-1)
    first, ends = find_runs((view << 32) + face, here, BLOCK)
    at, point = find_corners(faces, face, view, n_verts, here), load_point(xy, m, here)
    a, b, c = load_relative_corners(verts, at, point, here)
    lines, d, scale = find_lines((a, b, c))
    corner = load_triple(uv_faces, tl.load(face_id + m, here, other=0), here)
    u, v = load_coordinates(uvs, corner, 0, here), load_coordinates(uvs, corner, 1, here)
    of_u, d_u = lines_gradient(grad_uv, grad_derivatives, m, 0, lines, d, scale, u, here, LARGEST)
    of_v, d_v = lines_gradient(grad_uv, grad_derivatives, m, 1, lines, d, scale, v, here, LARGEST)
    if WANTS_UVS:
        kind = uvs.dtype.element_ty
        for i in tl.static_range(3):
            add_runs(total_uvs, 2 * corner[i], dot(lines[i], of_u).to(kind), first, ends, BLOCK)
            add_runs(total_uvs, 2 * corner[i] + 1, dot(lines[i], of_v).to(kind), first, ends, BLOCK)
    if WANTS_VERTS:
        of_d = (d_u[0] + d_v[0], d_u[1] + d_v[1], d_u[2] + d_v[2])
        l0 = combine(of_u, of_v, of_d, (u[0], v[0], 1.0))
        l1 = combine(of_u, of_v, of_d, (u[1], v[1], 1.0))
        l2 = combine(of_u, of_v, of_d, (u[2], v[2], 1.0))
        add_from_lines(total_verts, at[0], b, c, l1, l2, point, first, ends, BLOCK)
        add_from_lines(total_verts, at[1], c, a, l2, l0, point, first, ends, BLOCK)
        add_from_lines(total_verts, at[2], a, b, l0, l1, point, first, ends, BLOCK)


@triton.jit
def line_tangent(a, b, d_a, d_b):
    """Return the tangent of the line a x b."""
    return plus(cross(d_a, b), 1.0, cross(a, d_b))


@triton.jit
def write_tangents(
    out_uv, out_derivatives, m, axis, lines, d_lines, d, d_d, scale, coordinates, d_coordinates, here,
    LARGEST: tl.constexpr,
):  # fmt: skip
    """Write a tangent of one coordinate and of its derivatives: the quotient rule, twice."""
    value, by_x, by_y = differentiate(lines, d, scale, coordinates)
    d_n = plus(
        combine(d_lines[0], d_lines[1], d_lines[2], coordinates),
        1.0,
        combine(lines[0], lines[1], lines[2], d_coordinates),
    )
    moved = scale * (d_n[2] - value * d_d[2])
    moved_x = scale * (d_n[0] - moved * d[0] - value * d_d[0] - by_x * d_d[2])
    moved_y = scale * (d_n[1] - moved * d[1] - value * d_d[1] - by_y * d_d[2])
    tl.store(out_uv + 2 * m + axis, moved, here)
    tl.store(out_derivatives + 4 * m + 2 * axis, tl.where(tl.abs(by_x) <= LARGEST, moved_x, 0.0), here)
    tl.store(out_derivatives + 4 * m + 2 * axis + 1, tl.where(tl.abs(by_y) <= LARGEST, moved_y, 0.0), here)


@triton.jit(do_not_specialize=["n", "n_verts", "n_coordinates", "n_numbers", "n_tangents"])
def tangents_of(
    d_uvs, d_verts, uvs, uv_faces, face_id, verts, faces, scene_face_id, views, xy, out_uv, out_derivatives,
    n, n_verts, n_coordinates, n_numbers, n_tangents,
    LARGEST: tl.constexpr, OF_UVS: tl.constexpr, OF_VERTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents of coordinates [K, M, 2] and derivatives [K, M, 2, 2], one point a lane.

    n_coordinates, n_numbers: from one tangent of uvs, and of verts, to the next.
    """
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(scene_face_id + m, here, other=0), tl.load(views + m, here, other=0)
    at, point = find_corners(faces, face, view, n_verts, here), load_point(xy, m, here)
    a, b, c = load_relative_corners(verts, at, point, here)
    lines, d, scale = find_lines((a, b, c))
    corner = load_triple(uv_faces, tl.load(face_id + m, here, other=0), here)
    u, v = load_coordinates(uvs, corner, 0, here), load_coordinates(uvs, corner, 1, here)
    left = n_tangents
    while left > 0:
        p, q, r = load_relative_corners(d_verts, at, point, here & OF_VERTS)
        l0, l1, l2 = line_tangent(b, c, q, r), line_tangent(c, a, r, p), line_tangent(a, b, p, q)
        d_d = (l0[0] + l1[0] + l2[0], l0[1] + l1[1] + l2[1], l0[2] + l1[2] + l2[2])
        d_u = load_coordinates(d_uvs, corner, 0, here & OF_UVS)
        d_v = load_coordinates(d_uvs, corner, 1, here & OF_UVS)
        write_tangents(out_uv, out_derivatives, m, 0, lines, (l0, l1, l2), d, d_d, scale, u, d_u, here, LARGEST)
        write_tangents(out_uv, out_derivatives, m, 1, lines, (l0, l1, l2), d, d_d, scale, v, d_v, here, LARGEST)
        d_uvs += n_coordinates
        d_verts += n_numbers
        m += n
        left -= 1


def forward(
    uvs: Tensor, uv_faces: Tensor, face_id: Tensor, verts_hom: Tensor, scene_faces: Tensor, scene_face_id: Tensor,
    view: Tensor, xy_px: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See op.screen_uvs."""
    inputs = (uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    n = len(face_id)
    uv = torch.empty((n, 2), dtype=uvs.dtype, device=uvs.device)
    derivatives = torch.empty((n, 2, 2), dtype=uvs.dtype, device=uvs.device)
    launch(
        evaluate, triton.cdiv(n, BLOCK), *(part.contiguous() for part in inputs), uv, derivatives,
        n, verts_hom.shape[1], LARGEST=LARGEST, **OPTIONS,
    )  # fmt: skip
    return uv, derivatives


def backward(
    grad_uv: Tensor, grad_derivatives: Tensor, uvs: Tensor, uv_faces: Tensor, face_id: Tensor, verts_hom: Tensor,
    scene_faces: Tensor, scene_face_id: Tensor, view: Tensor, xy_px: Tensor, wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """See run_differentiable."""
    inputs = (uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px, grad_uv, grad_derivatives)
    n, wants_uvs, wants_verts = len(face_id), wants[0], wants[3]
    grad_uvs = torch.zeros(uvs.shape, dtype=uvs.dtype, device=uvs.device) if wants_uvs else None
    grad_verts = torch.zeros(verts_hom.shape, dtype=uvs.dtype, device=uvs.device) if wants_verts else None
    launch(
        gradients, triton.cdiv(n, BLOCK), *(part.contiguous() for part in inputs),
        grad_uvs if wants_uvs else uvs, grad_verts if wants_verts else verts_hom, n, verts_hom.shape[1],
        LARGEST=LARGEST, WANTS_UVS=wants_uvs, WANTS_VERTS=wants_verts, **OPTIONS,
    )  # fmt: skip
    return grad_uvs, None, None, grad_verts, None, None, None, None


def jvp(
    tangents: Sequence[Tensor | None], uvs: Tensor, uv_faces: Tensor, face_id: Tensor, verts_hom: Tensor,
    scene_faces: Tensor, scene_face_id: Tensor, view: Tensor, xy_px: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See run_differentiable."""
    arguments = (uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    inputs = [part.contiguous() for part in arguments]
    moved, given = tangents_or((inputs[0], inputs[3]), (tangents[0], tangents[3]))
    n, n_tangents = len(face_id), count_tangents(tangents)
    uv = torch.empty((n_tangents, n, 2), dtype=uvs.dtype, device=uvs.device)
    derivatives = torch.empty((n_tangents, n, 2, 2), dtype=uvs.dtype, device=uvs.device)
    launch(
        tangents_of, triton.cdiv(n, BLOCK), *moved, *inputs, uv, derivatives,
        n, verts_hom.shape[1], uvs.numel(), verts_hom.numel(), n_tangents,
        LARGEST=LARGEST, OF_UVS=given[0], OF_VERTS=given[1], **OPTIONS,
    )  # fmt: skip
    return uv, derivatives
