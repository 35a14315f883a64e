"""The list of samples on the CPU: count each image row, then fill it."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.threads import parallel_for

# Larger than any face.
AFTER_ALL = np.iinfo(np.int64).max


@njit(nogil=True, cache=True)
def count_rows(start, end, face_id, refined, first_refined, sample_face_id, count):
    """Count the samples of the image rows start..end-1 (row = n H + i)."""
    width = face_id.shape[1]
    for row in range(start, end):
        found = 0
        for x in range(width):
            found += face_id[row, x] >= 0
        for r in range(first_refined[row], first_refined[row + 1]):
            found -= face_id[row, refined[r] - row * width] >= 0
            for s in range(sample_face_id.shape[1]):
                found += sample_face_id[r, s] >= 0
        count[row] = found


@njit(nogil=True, cache=True)
def fill_rows(
    start,
    end,
    face_id,
    height,
    refined,
    first_refined,
    sample_face_id,
    offsets,
    share,
    first,
    pixel,
    view,
    face,
    xy,
    weight,
):
    """Write the samples of the image rows start..end-1; those of row r begin at first[r]."""
    width = face_id.shape[1]
    n_samples = sample_face_id.shape[1]
    for row in range(start, end):
        n = row // height
        y = row - n * height
        out = first[row]
        r = first_refined[row]
        for x in range(width):
            if r < first_refined[row + 1] and refined[r] == row * width + x:
                last = np.int64(-1)
                while True:
                    # The samples of the lowest face that has not had its turn.
                    lowest = AFTER_ALL
                    for s in range(n_samples):
                        if last < sample_face_id[r, s] < lowest:
                            lowest = sample_face_id[r, s]
                    if lowest == AFTER_ALL:
                        break
                    for s in range(n_samples):
                        if sample_face_id[r, s] == lowest:
                            pixel[out], view[out], face[out] = row * width + x, n, lowest
                            xy[out, 0], xy[out, 1] = x + offsets[s, 0], y + offsets[s, 1]
                            weight[out] = share[r, s]
                            out += 1
                    last = lowest
                r += 1
            elif face_id[row, x] >= 0:
                pixel[out], view[out], face[out] = row * width + x, n, face_id[row, x]
                xy[out, 0], xy[out, 1] = x + 0.5, y + 0.5
                weight[out] = 1
                out += 1


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, share: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    n_views, height, width = face_id.shape
    rows = face_id.contiguous().numpy().reshape(n_views * height, width)
    refined_array = refined.contiguous().numpy()
    first_refined = np.searchsorted(refined_array, np.arange(len(rows) + 1) * width)
    shared = (refined_array, first_refined, sample_face_id.contiguous().numpy())
    count = np.empty(len(rows), np.int64)
    grain = max(1, 32768 // width)
    parallel_for(count_rows, len(rows), grain, rows, *shared, count)
    first = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(count, out=first[1:])
    n_samples = int(first[-1])
    pixel, view, face = (memory.empty((n_samples,), face_id.dtype) for _ in range(3))
    xy = memory.empty((n_samples, 2), offsets.dtype)
    weight = memory.empty((n_samples,), offsets.dtype)
    outputs = tuple(tensor.numpy() for tensor in (pixel, view, face, xy, weight))
    parallel_for(fill_rows, len(rows), grain, rows, height, *shared, *as_numpy(offsets, share), first, *outputs)
    return pixel, view, face, xy, weight
