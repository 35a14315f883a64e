"""The antialiased image and its gradient on CUDA.

A pixel looks its samples up and sums them in the order of the list: the image is the same to the bit each time. So is
all of the gradient but that of the vertices: atomic additions, which come in any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.antialias.op import LEAST_W, VisibleSegments
from diffrender.ops.barycentrics.triton_cuda import find_corners
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_vec3 import load_triple

BLOCK = 128
# The numbers of a pixel are next to one another in a block of so many.
TILE = 1024


@triton.jit
def count_below(ascending, n, values):
    """Return how many of n ascending numbers are less than each value."""
    low = tl.zeros_like(values)
    high = low + n
    most = n
    while most > 0:
        middle = (low + high) // 2
        is_less = tl.load(ascending + middle, low < high, other=0) < values
        high = tl.where(is_less, high, middle)
        low = tl.where(is_less & (low < high), middle + 1, low)
        most = most // 2
    return low


@triton.jit(do_not_specialize=["n", "n_rows", "count"])
def resolve(
    radiance, pixel, weight, background, images, n, n_rows, count,
    COVERAGE: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write ROWS pixels of each of `count` images: its background, and its samples over it.

    COVERAGE: what a sample's last channel is, 1; or 0 where radiance and background are tangents.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = count_below(pixel, n, row)
    begins = tl.load(pixel + first, first < n, other=-1) == row
    c = tl.arange(0, WIDTH)[None, :]
    at, left = images + row[:, None] * (CHANNELS + 1) + c, count
    while left > 0:
        behind = tl.load(background + c, c < CHANNELS, other=0)
        total = tl.zeros([ROWS, WIDTH], radiance.dtype.element_ty) + behind
        m, here = first, begins
        while tl.max(here.to(tl.int32)) > 0:
            share = tl.load(weight + m, here, other=0)[:, None]
            color = tl.load(radiance + m[:, None] * CHANNELS + c, here[:, None] & (c < CHANNELS), other=COVERAGE)
            total += tl.where(here[:, None], share * (color - behind), 0.0)
            m += 1
            here = here & (tl.load(pixel + m, m < n, other=-1) == row)
        tl.store(at, total, (row < n_rows)[:, None] & (c <= CHANNELS))
        radiance += n.to(tl.int64) * CHANNELS
        background += CHANNELS
        at += n_rows.to(tl.int64) * (CHANNELS + 1)
        left -= 1


@triton.jit(do_not_specialize=["n", "n_rows"])
def scatter_rows(grad_image, pixel, weight, grad_radiance, n, n_rows, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Write the gradient with respect to samples, one of its n numbers a lane; 0 for those beyond the last pixel."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here, m, c = at < n, at // CHANNELS, at % CHANNELS
    row = tl.load(pixel + m, here, other=0)
    share = tl.load(weight + m, here, other=0)
    grad = tl.load(grad_image + row * (CHANNELS + 1) + c, here & (row < n_rows), other=0)
    tl.store(grad_radiance + at, share * grad, here)


@triton.jit
def find_middle(verts, at, bary, here, LEAST_W: tl.constexpr):
    """Return the middle (x, y, w) of segments, times w, in float64, and whether w is more than rounding."""
    x, y, w, size = 0.0, 0.0, 0.0, 0.0
    for i in tl.static_range(3):
        share = bary[i].to(tl.float64)
        x += share * tl.load(verts + at[i], here, other=0)
        y += share * tl.load(verts + at[i] + 1, here, other=0)
        term = share * tl.load(verts + at[i] + 2, here, other=0)
        w += term
        size += tl.abs(term)
    return x, y, w, w > LEAST_W * size


@triton.jit
def sweep_of(verts, at, share, normal, depth_weight, p, worth, here, LEAST_W: tl.constexpr):
    """Return what moving the middle of segments sweeps, times `worth`: its derivatives by x w, y w, w and depth there.

    And whether it is more than rounding. The middle is at (x / w, y / w); what it sweeps is worth `worth` per square
    pixel.
    """
    x, y, w, is_sound = find_middle(verts, at, share, here, LEAST_W)
    w = tl.where(is_sound, w, 1.0)
    gx = worth * tl.load(normal + 2 * p, here, other=0) / w
    gy = worth * tl.load(normal + 2 * p + 1, here, other=0) / w
    return gx, gy, -(gx * x + gy * y) / w, worth * tl.load(depth_weight + p, here, other=0), is_sound


@triton.jit(do_not_specialize=["stride", "n_pixels", "n", "n_verts"])
def add_segments(
    verts, faces, pixel, face_id, bary, normal, depth_weight, grad, jump, total, stride, n_pixels, n, n_verts,
    CHANNELS: tl.constexpr, LEAST_W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the gradient of segments to total [N, V, 4], one segment a lane."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n
    moves = (tl.load(normal + 2 * p, here, other=0) != 0) | (tl.load(normal + 2 * p + 1, here, other=0) != 0)
    here = moves | (tl.load(depth_weight + p, here, other=0) != 0)  # the others are nothing, whatever their jump
    row = tl.load(pixel + p, here, other=0)
    worth = tl.zeros([BLOCK], tl.float64)
    for c in range(CHANNELS):
        worth += tl.load(grad + row * stride + c, here, other=0).to(tl.float64) * tl.load(
            jump + p * CHANNELS + c, here, other=0
        )
    face, view = tl.load(face_id + p, here, other=0), row // n_pixels
    at, share = find_corners(faces, face, view, n_verts, here), load_triple(bary, p, here)
    gx, gy, gw, depth, is_sound = sweep_of(verts, at, share, normal, depth_weight, p, worth, here, LEAST_W)
    kind = total.dtype.element_ty
    for i in tl.static_range(3):
        moves = here & is_sound & (share[i] != 0)
        tl.atomic_add(total + at[i], (share[i] * gx).to(kind), moves, sem="relaxed")
        tl.atomic_add(total + at[i] + 1, (share[i] * gy).to(kind), moves, sem="relaxed")
        tl.atomic_add(total + at[i] + 2, (share[i] * gw).to(kind), moves, sem="relaxed")
        tl.atomic_add(total + at[i] + 3, (share[i] * depth).to(kind), moves, sem="relaxed")


@triton.jit(do_not_specialize=["n_pixels", "n", "n_verts", "n_numbers", "n_tangents"])
def sweep_areas(
    d_verts, verts, faces, pixel, face_id, bary, normal, depth_weight, areas, n_pixels, n, n_verts, n_numbers,
    n_tangents, LEAST_W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the areas [K, P] that segments sweep as the vertices move by each of their tangents, one segment a lane."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n
    face, view = tl.load(face_id + p, here, other=0), tl.load(pixel + p, here, other=0) // n_pixels
    at, share = find_corners(faces, face, view, n_verts, here), load_triple(bary, p, here)
    one = tl.full([BLOCK], 1, tl.float64)
    gx, gy, gw, depth, is_sound = sweep_of(verts, at, share, normal, depth_weight, p, one, here, LEAST_W)
    left = n_tangents
    while left > 0:
        area = tl.zeros([BLOCK], tl.float64)
        for i in tl.static_range(3):
            moves = here & is_sound & (share[i] != 0)
            moved = gx * tl.load(d_verts + at[i], moves, other=0) + gy * tl.load(d_verts + at[i] + 1, moves, other=0)
            moved += gw * tl.load(d_verts + at[i] + 2, moves, other=0)
            moved += depth * tl.load(d_verts + at[i] + 3, moves, other=0)
            area += tl.where(moves, share[i] * moved, 0.0)
        tl.store(areas + p, area, here)
        d_verts += n_numbers
        p += n
        left -= 1


@triton.jit(do_not_specialize=["n_rows", "n", "n_tangents"])
def add_swept(
    areas, jump, pixel, images, n_rows, n, n_tangents, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Add to images [K, pixels, C + 1] the areas [K, P] that segments sweep, times their jump, one segment a lane."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n
    at, steps = images + tl.load(pixel + p, here, other=0) * CHANNELS, jump + p * CHANNELS
    left = n_tangents
    while left > 0:
        area = tl.load(areas + p, here, other=0)
        for c in range(CHANNELS):
            tl.atomic_add(at + c, area * tl.load(steps + c, here, other=0), here, sem="relaxed")
        at += n_rows.to(tl.int64) * CHANNELS
        p += n
        left -= 1


def forward(
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
) -> Tensor:
    """See op.antialias; segments have a gradient and no value."""
    return images_of(radiance[None], pixel, weight, background[None], size, coverage=1)[0]


def images_of(
    radiance: Tensor, pixel: Tensor, weight: Tensor, background: Tensor, size: tuple[int, int, int], coverage: int
) -> Tensor:
    """Return images [K, N, H, W, C + 1] of samples [K, M, C] over backgrounds [K, C]; see resolve."""
    count, n, channels = radiance.shape
    images = torch.empty((count, *size, channels + 1), dtype=radiance.dtype, device=radiance.device)
    width = triton.next_power_of_2(channels + 1)
    rows, n_rows = max(1, TILE // width), size[0] * size[1] * size[2]
    inputs = [part.contiguous() for part in (radiance, pixel, weight, background)]
    launch(
        resolve, triton.cdiv(n_rows, rows), *inputs, images, n, n_rows, count,
        COVERAGE=coverage, CHANNELS=channels, WIDTH=width, ROWS=rows,
    )  # fmt: skip
    return images


def backward(
    grad_image: Tensor,
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_radiance, _, wants_verts, _, _, _, _, wants_background, _ = wants
    grad_image = grad_image.contiguous()
    grad_radiance = grad_verts = grad_background = None
    if wants_radiance or wants_background:
        grad_radiance = radiance_gradient(grad_image, pixel, weight)
    if wants_verts:
        grad_verts = segment_gradient(grad_image, grad_image.shape[-1], jump, verts_hom, faces, segments, size)
    if wants_background:  # everything but what the samples cover
        grad_background = grad_image[..., :-1].sum((0, 1, 2)) - grad_radiance.sum(0)
    return grad_radiance if wants_radiance else None, None, grad_verts, None, None, None, None, grad_background, None


def radiance_gradient(grad_image: Tensor, pixel: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient with respect to radiance [M, C]."""
    channels = grad_image.shape[-1] - 1
    grad_radiance = torch.empty((len(pixel), channels), dtype=grad_image.dtype, device=grad_image.device)
    n = grad_radiance.numel()
    launch(
        scatter_rows, triton.cdiv(n, 4 * BLOCK), grad_image, pixel.contiguous(), weight.contiguous(), grad_radiance, n,
        grad_image.numel() // (channels + 1), CHANNELS=channels, BLOCK=4 * BLOCK,
    )  # fmt: skip
    return grad_radiance


def segment_gradient(
    grad: Tensor,
    stride: int,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    segments: VisibleSegments,
    size: tuple[int, int, int],
) -> Tensor:
    """Return the gradient with respect to verts_hom [N, V, 4] of the area that segments sweep, times its jump [P, C].

    grad: [C] of each pixel of an image of `size` N, H, W, `stride` numbers apart.
    """
    total, n = torch.zeros(verts_hom.shape, dtype=verts_hom.dtype, device=verts_hom.device), len(segments.pixel)
    launch(
        add_segments, triton.cdiv(n, BLOCK), *(part.contiguous() for part in (verts_hom, faces, *segments)), grad,
        jump.contiguous(), total, stride, size[1] * size[2], n, verts_hom.shape[1],
        CHANNELS=jump.shape[1], LEAST_W=LEAST_W, BLOCK=BLOCK,
    )  # fmt: skip
    return total


def jvp(
    tangents: Sequence[Tensor | None],
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
) -> Tensor:
    """See run_differentiable; the image is linear in radiance and background, and their coverage stays."""
    count, of_verts = count_tangents(tangents), tangents[2]
    of_radiance, of_background = (
        part.new_zeros(count, *part.shape) if tangent is None else tangent
        for tangent, part in ((tangents[0], radiance), (tangents[7], background))
    )
    images = images_of(of_radiance, pixel, weight, of_background, size, coverage=0)
    if of_verts is not None:
        areas, n = swept_areas(of_verts, verts_hom, faces, segments, size[1] * size[2]), len(segments.pixel)
        launch(
            add_swept, triton.cdiv(n, BLOCK), areas, jump.contiguous(), segments.pixel.contiguous(), images,
            size[0] * size[1] * size[2], n, count, CHANNELS=jump.shape[1], BLOCK=BLOCK,
        )  # fmt: skip
    return images


def swept_areas(of_verts: Tensor, verts_hom: Tensor, faces: Tensor, segments: VisibleSegments, n_pixels: int) -> Tensor:
    """Return the areas [K, P] that segments sweep as verts_hom moves by each of its tangents [K, N, V, 4]."""
    count, n = len(of_verts), len(segments.pixel)
    areas = torch.empty((count, n), dtype=verts_hom.dtype, device=verts_hom.device)
    inputs = (part.contiguous() for part in (of_verts, verts_hom, faces, *segments))
    sizes = (n_pixels, n, verts_hom.shape[1], verts_hom.numel(), count)
    launch(sweep_areas, triton.cdiv(n, BLOCK), *inputs, areas, *sizes, LEAST_W=LEAST_W, BLOCK=BLOCK)
    return areas
