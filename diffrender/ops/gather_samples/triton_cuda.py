"""The list of samples on CUDA: count each pixel, cumulative sum, fill. See NOTES.md.

Four launches, and one host synchronisation for the length of the list (none within list_sizes.ListSizes, which takes a
fifth). Nothing depends on the order of execution.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.list_sizes import has_sizes, list_length, tell_wrong
from diffrender.ops.gather_samples.op import Samples
from diffrender.ops.triton_launch import launch

BLOCK = 256


@triton.jit
def quarter_of(offsets, s, here):
    """Return in which quarter of their pixel samples are."""
    x, y = tl.load(offsets + 2 * s, here, other=0), tl.load(offsets + 2 * s + 1, here, other=0)
    return (x >= 0.5).to(tl.int64) + 2 * (y >= 0.5).to(tl.int64)


@triton.jit(do_not_specialize=["n_samples"])
def find_first(sample_face_id, offsets, key, n_samples, SAMPLES: tl.constexpr, BLOCK: tl.constexpr):
    """Write 4 face + quarter of the first samples of that key in their pixels, -1 of the others, one lane each."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_samples
    r, s = m // SAMPLES, m % SAMPLES
    face = tl.load(sample_face_id + m, here, other=-1)
    quarter = quarter_of(offsets, s, here)
    is_first = face >= 0
    for t in range(SAMPLES):
        other = tl.load(sample_face_id + r * SAMPLES + t, here, other=-1)
        is_first = is_first & ~((t < s) & (other == face) & (quarter_of(offsets, t, True) == quarter))
    tl.store(key + m, tl.where(is_first, 4 * face + quarter, -1), here)


@triton.jit(do_not_specialize=["n_refined", "n_pixels"])
def count_refined(
    refined, key, added_face, count, n_refined, n_pixels, SAMPLES: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Write how many samples of each refined pixel are listed, one lane each."""
    r = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pixel = tl.load(refined + r, r < n_refined, other=n_pixels)
    here = pixel < n_pixels
    found = (tl.load(added_face + r, here, other=-1) >= 0).to(tl.int32)
    for s in range(SAMPLES):
        found += (tl.load(key + r * SAMPLES + s, here, other=-1) >= 0).to(tl.int32)
    tl.store(count + pixel, found, here)


@triton.jit
def store_sample(at, p, face, x, y, share, height, width, pixel, view, face_id, xy, weight, here):
    """Write a sample of pixels p at (x, y) to the places `at` of the list."""
    tl.store(pixel + at, p, here)
    tl.store(view + at, p // (height * width), here)
    tl.store(face_id + at, face, here)
    tl.store(xy + 2 * at, x, here)
    tl.store(xy + 2 * at + 1, y, here)
    tl.store(weight + at, share, here)


@triton.jit(do_not_specialize=["height", "width", "n_pixels", "length"])
def fill_plain(centers, ends, pixel, view, face_id, xy, weight, height, width, n_pixels, length, BLOCK: tl.constexpr):
    """Write the sample at the centre of each pixel that has any: fill_refined replaces those of refined pixels."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n_pixels
    end = tl.load(ends + p, here, other=0).to(tl.int64)
    here = here & (end <= length) & (end > tl.load(ends + p - 1, here & (p > 0), other=0))
    face = tl.load(centers + p, here, other=0)
    kind = xy.dtype.element_ty
    x, y = (p % width).to(kind) + 0.5, (p // width % height).to(kind) + 0.5
    store_sample(end - 1, p, face, x, y, 1.0, height, width, pixel, view, face_id, xy, weight, here)


@triton.jit(do_not_specialize=["height", "width", "n_pixels", "n_samples", "length"])
def fill_refined(
    refined, sample_face_id, key, offsets, shares, added_face, added_xy, added_share, ends, pixel, view, face_id, xy,
    weight, height, width, n_pixels, n_samples, length, SAMPLES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the samples of refined pixels, those of one key at their mean, one lane each; then what is added."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    r = m // SAMPLES
    own = tl.load(key + m, m < n_samples, other=-1)
    p = tl.load(refined + r, m < n_samples, other=n_pixels)
    adds = (m % SAMPLES == 0) & (p < n_pixels)
    adds = adds & (tl.load(added_face + r, adds, other=-1) >= 0)
    last = tl.load(ends + p, adds, other=0).to(tl.int64) - 1
    adds = adds & (last < length)
    store_sample(
        last, p, tl.load(added_face + r, adds, other=0), tl.load(added_xy + 2 * r, adds, other=0),
        tl.load(added_xy + 2 * r + 1, adds, other=0), tl.load(added_share + r, adds, other=0), height, width,
        pixel, view, face_id, xy, weight, adds,
    )  # fmt: skip
    here = own >= 0
    at = tl.load(ends + p - 1, here & (p > 0), other=0).to(tl.int64)
    found = tl.zeros((BLOCK,), tl.float64)
    share, offset_x, offset_y = found, found, found
    for t in range(SAMPLES):
        other = tl.load(key + r * SAMPLES + t, here, other=-1)
        at += ((other >= 0) & (other < own)).to(tl.int64)
        face = tl.load(sample_face_id + r * SAMPLES + t, here, other=-1)
        belongs = here & (face >= 0) & (4 * face + quarter_of(offsets, t, True) == own)
        found += belongs.to(found.dtype)
        share += tl.load(shares + r * SAMPLES + t, belongs, other=0).to(tl.float64)
        offset_x += tl.load(offsets + 2 * t + 0 * m, belongs, other=0).to(tl.float64)
        offset_y += tl.load(offsets + 2 * t + 1 + 0 * m, belongs, other=0).to(tl.float64)
    column, row = (p % width).to(tl.float64), (p // width % height).to(tl.float64)
    store_sample(
        at, p, own // 4, column + offset_x / found, row + offset_y / found, share, height, width,
        pixel, view, face_id, xy, weight, here & (at < length),
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_pixels", "length"])
def fill_rest(ends, pixel, view, face_id, xy, weight, n_pixels, length, BLOCK: tl.constexpr):
    """Repeat the first sample, with weight 0 and beyond the last pixel, in what is left of the list."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(ends + n_pixels - 1).to(tl.int64)
    here, first = (m >= total) & (m < length), m * 0
    repeats = here & (first < total)
    tl.store(pixel + m, n_pixels.to(tl.int64), here)
    tl.store(view + m, tl.load(view + first, repeats, other=0), here)
    tl.store(face_id + m, tl.load(face_id + first, repeats, other=0), here)
    tl.store(xy + 2 * m, tl.load(xy + first, repeats, other=0), here)
    tl.store(xy + 2 * m + 1, tl.load(xy + 1 + first, repeats, other=0), here)
    tl.store(weight + m, 0.0, here)


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, share: Tensor, added: Samples
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    refined = refined.contiguous()
    row = torch.searchsorted(refined, added.pixel.contiguous())
    face, xy, weight = (
        refined.new_full((len(refined),), -1),
        share.new_zeros(len(refined), 2),
        share.new_zeros(len(refined)),
    )
    face[row], xy[row], weight[row] = added.face_id, added.xy_px, added.weight
    return gather(face_id, refined, sample_face_id, offsets, share, face, xy, weight)


def gather(
    face_id: Tensor,
    refined: Tensor,
    sample_face_id: Tensor,
    offsets: Tensor,
    share: Tensor,
    added_face: Tensor,
    added_xy: Tensor,
    added_share: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples, with what is added by refined pixel: face [R], -1 for nothing, xy [R, 2] and share [R].

    Pixels beyond the last one are none. Within ListSizes the list may be longer than its samples: the first is repeated
    with weight 0 and such a pixel.
    """
    (_, height, width), n_samples = face_id.shape, len(offsets)
    centers, refined, sample_face_id = face_id.contiguous(), refined.contiguous(), sample_face_id.contiguous()
    n_pixels = centers.numel()
    number = torch.int32 if n_pixels * max(1, n_samples) < 2**31 else torch.int64
    count = torch.ge(centers.reshape(-1), 0, out=centers.new_empty(n_pixels, dtype=number))
    key, shared = torch.empty_like(sample_face_id), {"SAMPLES": n_samples, "BLOCK": BLOCK}
    offsets, programs, n_refined = offsets.contiguous(), triton.cdiv(key.numel(), BLOCK), len(refined)
    launch(find_first, programs, sample_face_id, offsets, key, key.numel(), **shared)
    launch(
        count_refined, triton.cdiv(n_refined, BLOCK), refined, key, added_face, count, n_refined, n_pixels, **shared
    )  # fmt: skip
    ends = count.cumsum(0, dtype=number)
    length = list_length(ends[-1:] if n_pixels else ends.new_zeros(1))
    pixel, view, face = (face_id.new_empty(length) for _ in range(3))
    out = (pixel, view, face, offsets.new_empty((length, 2)), offsets.new_empty(length))
    if length:
        size = (height, width, n_pixels)
        launch(fill_plain, triton.cdiv(n_pixels, BLOCK), centers, ends, *out, *size, length, BLOCK=BLOCK)
        launch(
            fill_refined, programs, refined, sample_face_id, key, offsets, share.contiguous(), added_face, added_xy,
            added_share, ends, *out, *size, key.numel(), length, **shared,
        )  # fmt: skip
        if has_sizes():
            tell_wrong(ends[-1] == 0)
            launch(fill_rest, triton.cdiv(length, BLOCK), ends, *out, n_pixels, length, BLOCK=BLOCK)
    return out
