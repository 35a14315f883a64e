"""Unit normals on CUDA, in float64. Sums are atomic additions, in any order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.geometry.normals import LEAST_SHARE, LEAST_SUM
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_vec3 import cross, dot, load_triple, plus, store_triple, to_dtype

BLOCK = 256


@triton.jit
def load_sides(array, corners, here):
    """Return what is from the first corners to the second and to the third, in float64."""
    a = to_dtype(load_triple(array, corners[0], here), tl.float64)
    b = to_dtype(load_triple(array, corners[1], here), tl.float64)
    c = to_dtype(load_triple(array, corners[2], here), tl.float64)
    return plus(b, -1.0, a), plus(c, -1.0, a)


@triton.jit
def normal_of(first, second, LEAST: tl.constexpr):
    """Return the normals of faces, their lengths, and which of them there are."""
    normal = cross(first, second)
    length = tl.sqrt(dot(normal, normal))
    return normal, length, length > LEAST * (dot(first, first) + dot(second, second))


@triton.jit
def add_triple(total, row, value, here):
    """Add to rows of an array of triples."""
    at = total + 3 * row
    tl.atomic_add(at, value[0], here, sem="relaxed")
    tl.atomic_add(at + 1, value[1], here, sem="relaxed")
    tl.atomic_add(at + 2, value[2], here, sem="relaxed")


@triton.jit(do_not_specialize=["n_faces"])
def add_normals(vertices, faces, numbers, total, lengths, n_faces, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Add the normals of faces and their lengths to what their corners have, one lane per face."""
    f = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = f < n_faces
    first, second = load_sides(vertices, load_triple(faces, f, here), here)
    normal, length, has_normal = normal_of(first, second, LEAST)
    own = load_triple(numbers, f, here)
    for c in tl.static_range(3):
        add_triple(total, own[c], normal, here & has_normal)
        tl.atomic_add(lengths + own[c], length, here & has_normal, sem="relaxed")


@triton.jit(do_not_specialize=["n_faces"])
def add_gradients(slopes, vertices, faces, numbers, total, n_faces, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Add the gradients of faces to those of their vertices, one lane per face."""
    f = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = f < n_faces
    corners, own = load_triple(faces, f, here), load_triple(numbers, f, here)
    first, second = load_sides(vertices, corners, here)
    _, _, has_normal = normal_of(first, second, LEAST)
    slope = plus(load_triple(slopes, own[0], here), 1.0, load_triple(slopes, own[1], here))
    slope = plus(slope, 1.0, load_triple(slopes, own[2], here))
    of_first, of_second = cross(second, slope), cross(slope, first)
    both = plus(of_first, 1.0, of_second)
    add_triple(total, corners[0], (-both[0], -both[1], -both[2]), here & has_normal)
    add_triple(total, corners[1], of_first, here & has_normal)
    add_triple(total, corners[2], of_second, here & has_normal)


@triton.jit(do_not_specialize=["n_faces", "n_vertices", "n_normals", "count"])
def add_tangents(
    tangents, vertices, faces, numbers, total, n_faces, n_vertices, n_normals, count, LEAST: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Add all tangents of the normals of faces to those of the sums, one lane per face."""
    f = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = f < n_faces
    corners, own = load_triple(faces, f, here), load_triple(numbers, f, here)
    first, second = load_sides(vertices, corners, here)
    _, _, has_normal = normal_of(first, second, LEAST)
    per_tangent, per_total, left = 3 * n_vertices.to(tl.int64), 3 * n_normals.to(tl.int64), count
    while left > 0:
        d_first, d_second = load_sides(tangents, corners, here)
        moved = plus(cross(d_first, second), 1.0, cross(first, d_second))
        for c in tl.static_range(3):
            add_triple(total, own[c], moved, here & has_normal)
        tangents += per_tangent
        total += per_total
        left -= 1


@triton.jit
def unit_of(total, lengths, m, here, LEAST: tl.constexpr):
    """Return sums divided by their lengths, and 1 / those; zeros where they are not defined."""
    x, y, z = load_triple(total, m, here)
    length = tl.sqrt(x * x + y * y + z * z)
    is_defined = length > LEAST * tl.load(lengths + m, here, other=0)
    scale = tl.where(is_defined, 1.0 / tl.where(is_defined, length, 1.0), 0.0)
    return (x * scale, y * scale, z * scale), scale


@triton.jit(do_not_specialize=["n"])
def divide(total, lengths, out, n, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Write unit normals, one lane each."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    unit, _ = unit_of(total, lengths, m, m < n, LEAST)
    store_triple(out, m, to_dtype(unit, out.dtype.element_ty), m < n)


@triton.jit(do_not_specialize=["n", "count"])
def turn(total, lengths, given, out, n, count, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Write each given gradient or tangent [count, K, 3], without its part along the normal, over the length."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here, left = m < n, count
    unit, scale = unit_of(total, lengths, m, here, LEAST)
    while left > 0:
        g = to_dtype(load_triple(given, m, here), tl.float64)
        x, y, z = plus(g, -dot(g, unit), unit)
        store_triple(out, m, to_dtype((x * scale, y * scale, z * scale), out.dtype.element_ty), here)
        m += n
        left -= 1


def forward(vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int) -> Tensor:
    """See op.smooth_normals."""
    sums = _sums(vertices.contiguous(), faces.contiguous(), normal_faces.contiguous(), n_normals)
    out = vertices.new_empty(n_normals, 3)
    launch(divide, triton.cdiv(n_normals, BLOCK), *sums, out, n_normals, LEAST=LEAST_SUM, BLOCK=BLOCK)
    return out


def backward(
    grad_out: Tensor, vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int, wants: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    mesh = vertices.contiguous(), faces.contiguous(), normal_faces.contiguous()
    slopes = _turned(*_sums(*mesh, n_normals), grad_out.contiguous()[None], torch.float64)[0]
    total = vertices.new_zeros(vertices.shape, dtype=torch.float64)
    n_faces = len(faces)
    launch(add_gradients, triton.cdiv(n_faces, BLOCK), slopes, *mesh, total, n_faces, LEAST=LEAST_SHARE, BLOCK=BLOCK)
    return total.to(vertices.dtype), None, None, None


def jvp(
    tangents: Sequence[Tensor | None], vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int
) -> Tensor:
    """See run_differentiable."""
    assert tangents[0] is not None
    moved, n_faces = tangents[0].contiguous(), len(faces)
    mesh = vertices.contiguous(), faces.contiguous(), normal_faces.contiguous()
    total = vertices.new_zeros(len(moved), n_normals, 3, dtype=torch.float64)
    sizes = (n_faces, len(vertices), n_normals, len(moved))
    launch(add_tangents, triton.cdiv(n_faces, BLOCK), moved, *mesh, total, *sizes, LEAST=LEAST_SHARE, BLOCK=BLOCK)
    return _turned(*_sums(*mesh, n_normals), total, vertices.dtype)


def _sums(vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int) -> tuple[Tensor, Tensor]:
    """Return the sums of the normals of faces [K, 3], and of their lengths [K], float64."""
    total = vertices.new_zeros(n_normals, 3, dtype=torch.float64)
    lengths = vertices.new_zeros(n_normals, dtype=torch.float64)
    mesh = (vertices, faces, normal_faces, total, lengths, len(faces))
    launch(add_normals, triton.cdiv(len(faces), BLOCK), *mesh, LEAST=LEAST_SHARE, BLOCK=BLOCK)
    return total, lengths


def _turned(total: Tensor, lengths: Tensor, given: Tensor, dtype: torch.dtype) -> Tensor:
    """Return gradients or tangents [T, K, 3] of unit normals, of those of the sums, or the other way round."""
    out, n = given.new_empty(given.shape, dtype=dtype), len(total)
    sizes = (n, len(given))
    launch(turn, triton.cdiv(n, BLOCK), total, lengths, given, out, *sizes, LEAST=LEAST_SUM, BLOCK=BLOCK)
    return out
