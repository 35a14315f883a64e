"""The list of samples on CUDA: count each pixel, cumulative sum, fill. See NOTES.md.

Four launches, and one host synchronisation for the length of the list. Nothing depends on the order of execution.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

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


@triton.jit(do_not_specialize=["n_refined"])
def count_refined(refined, key, count, n_refined, SAMPLES: tl.constexpr, BLOCK: tl.constexpr):
    """Write how many samples of each refined pixel are listed, one lane each."""
    r = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = r < n_refined
    found = tl.full((BLOCK,), 0, tl.int32)
    for s in range(SAMPLES):
        found += (tl.load(key + r * SAMPLES + s, here, other=-1) >= 0).to(tl.int32)
    tl.store(count + tl.load(refined + r, here, other=0), found, here)


@triton.jit
def store_sample(at, p, face, offset_x, offset_y, share, height, width, pixel, view, face_id, xy, weight, here):
    """Write a sample of pixels p to the places `at` of the list; its offset is in the pixel."""
    row = p // width
    tl.store(pixel + at, p, here)
    tl.store(view + at, row // height, here)
    tl.store(face_id + at, face, here)
    tl.store(xy + 2 * at, (p % width).to(offset_x.dtype) + offset_x, here)
    tl.store(xy + 2 * at + 1, (row % height).to(offset_y.dtype) + offset_y, here)
    tl.store(weight + at, share, here)


@triton.jit(do_not_specialize=["height", "width", "n_pixels"])
def fill_plain(centers, ends, pixel, view, face_id, xy, weight, height, width, n_pixels, BLOCK: tl.constexpr):
    """Write the sample at the centre of each pixel that has any: fill_refined replaces those of refined pixels."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n_pixels
    end = tl.load(ends + p, here, other=0).to(tl.int64)
    here = here & (end > tl.load(ends + p - 1, here & (p > 0), other=0))
    face = tl.load(centers + p, here, other=0)
    middle = tl.full((BLOCK,), 0.5, xy.dtype.element_ty)
    store_sample(end - 1, p, face, middle, middle, 1.0, height, width, pixel, view, face_id, xy, weight, here)


@triton.jit(do_not_specialize=["height", "width", "n_samples"])
def fill_refined(
    refined, sample_face_id, key, offsets, shares, ends, pixel, view, face_id, xy, weight, height, width, n_samples,
    SAMPLES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the samples of refined pixels, those of one key at their mean, one lane each, by key."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    r = m // SAMPLES
    own = tl.load(key + m, m < n_samples, other=-1)
    here = own >= 0
    p = tl.load(refined + r, here, other=0)
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
    mean_x, mean_y = offset_x / found, offset_y / found
    store_sample(at, p, own // 4, mean_x, mean_y, share, height, width, pixel, view, face_id, xy, weight, here)


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, share: Tensor, added: Samples
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    (_, height, width), n_samples = face_id.shape, len(offsets)
    centers, refined, sample_face_id = face_id.contiguous(), refined.contiguous(), sample_face_id.contiguous()
    n_pixels = centers.numel()
    number = torch.int32 if n_pixels * max(1, n_samples) < 2**31 else torch.int64
    count = torch.ge(centers.reshape(-1), 0, out=centers.new_empty(n_pixels, dtype=number))
    key, shared = torch.empty_like(sample_face_id), {"SAMPLES": n_samples, "BLOCK": BLOCK}
    offsets, programs = offsets.contiguous(), triton.cdiv(key.numel(), BLOCK)
    launch(find_first, programs, sample_face_id, offsets, key, key.numel(), **shared)
    launch(count_refined, triton.cdiv(len(refined), BLOCK), refined, key, count, len(refined), **shared)
    count[added.pixel] += 1
    ends = count.cumsum(0, dtype=number)
    length = int(ends[-1]) if n_pixels else 0
    pixel, view, face = (face_id.new_empty(length) for _ in range(3))
    out = (pixel, view, face, offsets.new_empty((length, 2)), offsets.new_empty(length))
    if length:
        launch(fill_plain, triton.cdiv(n_pixels, BLOCK), centers, ends, *out, height, width, n_pixels, BLOCK=BLOCK)
        launch(
            fill_refined, programs, refined, sample_face_id, key, offsets, share.contiguous(), ends, *out,
            height, width, key.numel(), **shared,
        )  # fmt: skip
        last = ends[added.pixel].long() - 1
        for whole, own in zip(out, added, strict=True):
            whole[last] = own
    return out
