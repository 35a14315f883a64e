"""The list of samples on the CPU: count each image row, then fill it."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.gather_samples.op import Cuts
from diffrender.threads import parallel_for

# Larger than any face.
AFTER_ALL = np.iinfo(np.int64).max


@njit(nogil=True, cache=True)
def count_rows(start, end, face_id, refined, first_refined, sample_face_id, cut, first_cut, cut_face_id, count):
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
        for c in range(first_cut[row], first_cut[row + 1]):
            found -= face_id[row, cut[c] - row * width] >= 0
            for k in range(cut_face_id.shape[1]):
                found += cut_face_id[c, k] >= 0
        count[row] = found


@njit(nogil=True, cache=True, forceinline=True)
def following_face(faces, last):
    """Return the lowest face above `last`; AFTER_ALL if there is none."""
    lowest = AFTER_ALL
    for face in faces:
        if last < face < lowest:
            lowest = face
    return lowest


@njit(nogil=True, cache=True)
def fill_rows(
    start, end, face_id, height, refined, first_refined, sample_face_id, cut, first_cut, cut_face_id,
    offsets, cut_offsets, cut_weight, first, pixel, view, face, xy, weight,
):  # fmt: skip
    """Write the samples of the image rows start..end-1; those of row r begin at first[r]."""
    width = face_id.shape[1]
    n_samples = sample_face_id.shape[1]
    for row in range(start, end):
        n = row // height
        y = row - n * height
        out = first[row]
        r, c = first_refined[row], first_cut[row]
        for x in range(width):
            if r < first_refined[row + 1] and refined[r] == row * width + x:
                lowest = following_face(sample_face_id[r], -1)
                while lowest < AFTER_ALL:
                    for s in range(n_samples):
                        if sample_face_id[r, s] == lowest:
                            pixel[out], view[out], face[out] = row * width + x, n, lowest
                            xy[out, 0], xy[out, 1] = x + offsets[s, 0], y + offsets[s, 1]
                            weight[out] = 1 / n_samples
                            out += 1
                    lowest = following_face(sample_face_id[r], lowest)
                r += 1
            elif c < first_cut[row + 1] and cut[c] == row * width + x:
                lowest = following_face(cut_face_id[c], -1)
                while lowest < AFTER_ALL:
                    for k in range(cut_face_id.shape[1]):
                        if cut_face_id[c, k] == lowest:
                            pixel[out], view[out], face[out] = row * width + x, n, lowest
                            xy[out, 0], xy[out, 1] = x + cut_offsets[c, k, 0], y + cut_offsets[c, k, 1]
                            weight[out] = cut_weight[c, k]
                            out += 1
                    lowest = following_face(cut_face_id[c], lowest)
                c += 1
            elif face_id[row, x] >= 0:
                pixel[out], view[out], face[out] = row * width + x, n, face_id[row, x]
                xy[out, 0], xy[out, 1] = x + 0.5, y + 0.5
                weight[out] = 1
                out += 1


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, cuts: Cuts
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    n_views, height, width = face_id.shape
    rows = face_id.contiguous().numpy().reshape(n_views * height, width)
    refined_array, sample_faces, cut, cut_faces, cut_offsets, cut_weight = as_numpy(refined, sample_face_id, *cuts)
    starts = np.arange(len(rows) + 1) * width
    first_refined, first_cut = np.searchsorted(refined_array, starts), np.searchsorted(cut, starts)
    shared = (refined_array, first_refined, sample_faces, cut, first_cut, cut_faces)
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
    places = (*as_numpy(offsets), cut_offsets, cut_weight)
    parallel_for(fill_rows, len(rows), grain, rows, height, *shared, *places, first, *outputs)
    return pixel, view, face, xy, weight
