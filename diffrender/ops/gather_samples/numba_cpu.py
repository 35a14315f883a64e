"""The list of samples on the CPU: count each image row, then fill it."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.gather_samples.op import Samples
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, forceinline=True)
def group_samples(sample_face_id, quarter, r, keys, group):
    """Find the keys 4 face + quarter in a refined pixel, in any order, and the group of each sample; return how many.

    group[s] = k: sample s has keys[k]; -1 for one that sees nothing.
    """
    found = 0
    for s in range(len(quarter)):
        group[s] = -1
        if sample_face_id[r, s] < 0:
            continue
        key = 4 * sample_face_id[r, s] + quarter[s]
        k = found - 1
        while k >= 0 and keys[k] != key:
            k -= 1
        if k < 0:
            k = found
            keys[k] = key
            found += 1
        group[s] = k
    return found


@njit(nogil=True, cache=True)
def count_rows(start, end, face_id, refined, first_refined, sample_face_id, quarter, first_added, count):
    """Count the samples of the image rows start..end-1 (row = n H + i)."""
    width = face_id.shape[1]
    keys, group = np.empty(len(quarter), np.int64), np.empty(len(quarter), np.int64)
    for row in range(start, end):
        found = first_added[row + 1] - first_added[row]
        for x in range(width):
            found += face_id[row, x] >= 0
        for r in range(first_refined[row], first_refined[row + 1]):
            found -= face_id[row, refined[r] - row * width] >= 0
            found += group_samples(sample_face_id, quarter, r, keys, group)
        count[row] = found


@njit(nogil=True, cache=True)
def fill_rows(
    start, end, face_id, refined, first_refined, sample_face_id, quarter, first_added, height, offsets, share,
    added_pixel, added_face_id, added_xy, added_weight, first, pixel, view, face_out, xy, weight,
):  # fmt: skip
    """Write the samples of the image rows start..end-1; those of row r begin at first[r]."""
    width = face_id.shape[1]
    keys, group = np.empty(len(quarter), np.int64), np.empty(len(quarter), np.int64)
    sums = np.empty((len(quarter), 4))  # of each key: number, share, offsets
    for row in range(start, end):
        n = row // height
        y = row - n * height
        out = first[row]
        r, k_added = first_refined[row], first_added[row]
        for x in range(width):
            if r < first_refined[row + 1] and refined[r] == row * width + x:
                found = group_samples(sample_face_id, quarter, r, keys, group)
                sums[:found] = 0
                for s in range(len(quarter)):
                    k = group[s]
                    if k >= 0:
                        sums[k, 0] += 1
                        sums[k, 1] += share[r, s]
                        sums[k, 2] += offsets[s, 0]
                        sums[k, 3] += offsets[s, 1]
                for k in range(found):
                    at = out
                    for other in range(found):
                        at += keys[other] < keys[k]
                    pixel[at], view[at], face_out[at], weight[at] = row * width + x, n, keys[k] // 4, sums[k, 1]
                    xy[at, 0], xy[at, 1] = x + sums[k, 2] / sums[k, 0], y + sums[k, 3] / sums[k, 0]
                out += found
                r += 1
                if k_added < first_added[row + 1] and added_pixel[k_added] == row * width + x:
                    pixel[out], view[out], face_out[out] = row * width + x, n, added_face_id[k_added]
                    xy[out, 0], xy[out, 1] = added_xy[k_added, 0], added_xy[k_added, 1]
                    weight[out] = added_weight[k_added]
                    k_added += 1
                    out += 1
            elif face_id[row, x] >= 0:
                pixel[out], view[out], face_out[out] = row * width + x, n, face_id[row, x]
                xy[out, 0], xy[out, 1] = x + 0.5, y + 0.5
                weight[out] = 1
                out += 1


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, share: Tensor, added: Samples
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    n_views, height, width = face_id.shape
    rows = face_id.contiguous().numpy().reshape(n_views * height, width)
    refined_array = refined.contiguous().numpy()
    added_pixel, _, *others = as_numpy(*added)
    first_of_row = np.arange(len(rows) + 1) * width
    first_refined, first_added = (np.searchsorted(each, first_of_row) for each in (refined_array, added_pixel))
    offset_array = offsets.contiguous().numpy()
    quarter = (offset_array[:, 0] >= 0.5) + 2 * (offset_array[:, 1] >= 0.5)
    shared = (rows, refined_array, first_refined, sample_face_id.contiguous().numpy(), quarter, first_added)
    count = np.empty(len(rows), np.int64)
    grain = max(1, 32768 // max(1, width))
    parallel_for(count_rows, len(rows), grain, *shared, count)
    first = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(count, out=first[1:])
    n_samples = int(first[-1])
    pixel, view, face = (memory.empty((n_samples,), face_id.dtype) for _ in range(3))
    xy = memory.empty((n_samples, 2), offsets.dtype)
    weight = memory.empty((n_samples,), offsets.dtype)
    outputs = tuple(tensor.numpy() for tensor in (pixel, view, face, xy, weight))
    own = (height, offset_array, *as_numpy(share), added_pixel, *others, first)
    parallel_for(fill_rows, len(rows), grain, *shared, *own, *outputs)
    return pixel, view, face, xy, weight
