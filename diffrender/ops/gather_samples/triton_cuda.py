"""The list of samples on CUDA: count each pixel, cumulative sum, fill. See NOTES.md.

Up to five launches, and one host synchronisation for the length of the list. Nothing depends on the order of execution.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.gather_samples.op import Cuts
from diffrender.ops.triton_launch import launch

BLOCK = 256


@triton.jit(do_not_specialize=["n_refined"])
def count_refined(refined, sample_face_id, count, n_refined, SAMPLES: tl.constexpr, BLOCK: tl.constexpr):
    """Write how many samples of each refined, or cut, pixel see a face, one lane each."""
    r = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = r < n_refined
    found = tl.full((BLOCK,), 0, tl.int32)
    for s in range(SAMPLES):
        found += (tl.load(sample_face_id + r * SAMPLES + s, here, other=-1) >= 0).to(tl.int32)
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
    """Write the sample at the centre of each pixel that has any: fill_refined and fill_cuts replace those of theirs."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n_pixels
    end = tl.load(ends + p, here, other=0).to(tl.int64)
    here = here & (end > tl.load(ends + p - 1, here & (p > 0), other=0))
    face = tl.load(centers + p, here, other=0)
    middle = tl.full((BLOCK,), 0.5, xy.dtype.element_ty)
    store_sample(end - 1, p, face, middle, middle, 1.0, height, width, pixel, view, face_id, xy, weight, here)


@triton.jit
def place_sample(pixels, sample_face_id, ends, m, face, here, SAMPLES: tl.constexpr):
    """Return the pixel of sample m and its place in the list: after those of its pixel that come before it."""
    r, s = m // SAMPLES, m % SAMPLES
    p = tl.load(pixels + r, here, other=0)
    at = tl.load(ends + p - 1, here & (p > 0), other=0).to(tl.int64)
    for t in range(SAMPLES):
        other = tl.load(sample_face_id + r * SAMPLES + t, here, other=-1)
        at += ((other >= 0) & ((other < face) | ((other == face) & (t < s)))).to(tl.int64)
    return p, at


@triton.jit(do_not_specialize=["height", "width", "n_samples"])
def fill_refined(
    refined, sample_face_id, offsets, ends, pixel, view, face_id, xy, weight, height, width, n_samples,
    SAMPLES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the samples of refined pixels that see a face, one lane each, by face and then by number."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    face = tl.load(sample_face_id + m, m < n_samples, other=-1)
    here = face >= 0
    p, at = place_sample(refined, sample_face_id, ends, m, face, here, SAMPLES)
    s = m % SAMPLES
    share = tl.full((BLOCK,), 1 / SAMPLES, weight.dtype.element_ty)
    offset_x, offset_y = tl.load(offsets + 2 * s, here, other=0), tl.load(offsets + 2 * s + 1, here, other=0)
    store_sample(at, p, face, offset_x, offset_y, share, height, width, pixel, view, face_id, xy, weight, here)


@triton.jit(do_not_specialize=["height", "width", "n_samples"])
def fill_cuts(
    cut, cut_face_id, cut_offsets, cut_weight, ends, pixel, view, face_id, xy, weight, height, width, n_samples,
    SAMPLES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the samples of cut pixels that see a face, one lane each, by face and then by number."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    face = tl.load(cut_face_id + m, m < n_samples, other=-1)
    here = face >= 0
    p, at = place_sample(cut, cut_face_id, ends, m, face, here, SAMPLES)
    offset_x, offset_y = tl.load(cut_offsets + 2 * m, here, other=0), tl.load(cut_offsets + 2 * m + 1, here, other=0)
    share = tl.load(cut_weight + m, here, other=0)
    store_sample(at, p, face, offset_x, offset_y, share, height, width, pixel, view, face_id, xy, weight, here)


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, cuts: Cuts
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    (_, height, width), n_samples = face_id.shape, len(offsets)
    centers, refined, sample_face_id = face_id.contiguous(), refined.contiguous(), sample_face_id.contiguous()
    n_pixels = centers.numel()
    number = torch.int32 if n_pixels * max(1, n_samples) < 2**31 else torch.int64
    count = torch.ge(centers.reshape(-1), 0, out=centers.new_empty(n_pixels, dtype=number))
    cut, cut_face_id, cut_offsets, cut_weight = (part.contiguous() for part in cuts)
    for of, seen, number_of in ((refined, sample_face_id, n_samples), (cut, cut_face_id, cut_face_id.shape[1])):
        launch(count_refined, triton.cdiv(len(of), BLOCK), of, seen, count, len(of), SAMPLES=number_of, BLOCK=BLOCK)
    ends = count.cumsum(0, dtype=number)
    length = int(ends[-1]) if n_pixels else 0
    pixel, view, face = (face_id.new_empty(length) for _ in range(3))
    out = (pixel, view, face, offsets.new_empty((length, 2)), offsets.new_empty(length))
    if length:
        launch(fill_plain, triton.cdiv(n_pixels, BLOCK), centers, ends, *out, height, width, n_pixels, BLOCK=BLOCK)
        launch(
            fill_refined, triton.cdiv(sample_face_id.numel(), BLOCK), refined, sample_face_id, offsets.contiguous(),
            ends, *out, height, width, sample_face_id.numel(), SAMPLES=n_samples, BLOCK=BLOCK,
        )  # fmt: skip
        launch(
            fill_cuts, triton.cdiv(cut_face_id.numel(), BLOCK), cut, cut_face_id, cut_offsets, cut_weight,
            ends, *out, height, width, cut_face_id.numel(), SAMPLES=cut_face_id.shape[1], BLOCK=BLOCK,
        )  # fmt: skip
    return out
