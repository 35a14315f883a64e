"""UV unwrapping: texture coordinates for meshes that have none."""

from __future__ import annotations

import math
from threading import Timer
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_finite, check_float, check_indices_below, check_shape
from diffrender.errors import ShapeError

# The padding is resolution / 2^7 texels: charts stay apart in every mip level of 128 or more texels per side.
CLEAN_LEVELS = 7
LEAST_PADDING = 2
# xatlas pads each chart, so that two charts are twice as far apart; but it meets the requested size only roughly (by up
# to a third), and the charts are then scaled to it. The tests confirm that this fraction of the padding is enough.
SPACING = 0.75
# xatlas' time grows faster than the number of faces, so meshes of more than SPLIT_FROM are given to it in pieces of at
# most PIECE, across which no chart goes: 330,000 faces take 20 s for 90, 1.3 million 100.
SPLIT_FROM, PIECE = 50_000, 16_000
# How long an atlas outlives its use. Its destructor wakes xatlas' threads without holding their lock: one that is about
# to fall asleep misses that, and is then waited for forever, with the GIL (once in thousands of meshes of 80 faces).
# Threads that have had this time are asleep, and do wake.
REST_SECONDS = 0.25


class UvLayout(NamedTuple):
    """The positions of the faces of a mesh in a square texture; no two overlap.

    uvs: [T, 2] in 0..1. uv_faces: [F, 3] int64; `uv_faces[f, c] = t` means that corner c of face f has uvs[t].
    """

    uvs: Tensor
    uv_faces: Tensor


def default_padding(resolution: int) -> int:
    """Return the default number of free texels between two charts of a square texture."""
    return max(LEAST_PADDING, resolution >> CLEAN_LEVELS)


def unwrap(vertices: Tensor, faces: Tensor, resolution: int, padding: int | None = None) -> UvLayout:
    """Cut a surface into charts, flatten them and pack them into a square; deterministic.

    Charts have about the same scale everywhere. The mesh itself is unchanged: vertices are shared across seams.

    vertices: [V, 3] float; faces: [F, 3] int64, any mesh, in any unit.
    resolution: texels along each side of the texture. padding: free texels between charts; if omitted,
        `default_padding`.
    Takes about half a second for 5,000 faces, two seconds for 20,000; above 50,000 some 6 seconds per 100,000.
    Raises ShapeError for a mesh without faces, a non-finite vertex, or a resolution or padding out of range.
    Source: xatlas (https://github.com/jpcy/xatlas).
    """
    check_shape("unwrap", "vertices", vertices, ("V", 3))
    check_float("unwrap", "vertices", vertices)
    check_finite("unwrap", "vertices", vertices)
    check_shape("unwrap", "faces", faces, ("F", 3))
    check_indices_below("unwrap", "faces", faces, len(vertices), "the number of vertices")
    padding = default_padding(resolution) if padding is None else padding
    if len(faces) == 0:
        raise ShapeError("unwrap: the mesh has no faces; give one with at least one triangle")
    if resolution < 1 or padding < 0:
        raise ShapeError(f"unwrap: resolution must be at least 1, padding at least 0, got {resolution} and {padding}")
    import xatlas

    atlas = xatlas.Atlas()
    options = xatlas.PackOptions()
    options.resolution, options.padding = resolution, math.ceil(SPACING * padding)
    try:
        positions, corners = _normalize_scale(vertices, faces), faces.cpu().numpy()
        pieces = _pieces(positions[corners].mean(1))
        used = [np.unique(corners[piece], return_inverse=True) for piece in pieces]
        for vertex, own in used:
            atlas.add_mesh(positions[vertex], own.reshape(-1, 3).astype(np.uint32))
        atlas.generate(xatlas.ChartOptions(), options)
    finally:
        last_use = Timer(REST_SECONDS, [atlas].clear)
        last_use.daemon = True
        last_use.start()
    all_uvs, uv_faces, count = [], np.empty(corners.shape, np.int64), 0
    for index, (piece, (vertex, _)) in enumerate(zip(pieces, used, strict=True)):
        source, own_faces, uvs = atlas[index]
        assert np.array_equal(vertex[source[own_faces]], corners[piece])
        uv_faces[piece] = own_faces.astype(np.int64) + count
        all_uvs.append(uvs)
        count += len(uvs)
    uvs = np.nan_to_num(np.concatenate(all_uvs))  # for a mesh without area
    # The same scale for both axes, so that texels are square on the surface.
    scale = np.array([atlas.width, atlas.height]) / max(atlas.width, atlas.height, 1)
    return UvLayout(torch.from_numpy(uvs * scale).to(vertices), torch.from_numpy(uv_faces).to(faces.device))


def _pieces(middles: np.ndarray) -> list[np.ndarray]:
    """Return the faces of each piece, in order, of a mesh whose faces have these `middles` [F, 3]: halves of halves."""
    pieces = [np.arange(len(middles))]
    while len(middles) > SPLIT_FROM and max(map(len, pieces)) > PIECE:
        halves = []
        for piece in pieces:
            own = middles[piece]
            order = np.argsort(own[:, np.ptp(own, axis=0).argmax()], kind="stable")
            halves += [np.sort(piece[order[: len(piece) // 2]]), np.sort(piece[order[len(piece) // 2 :]])]
        pieces = halves
    return pieces


def _normalize_scale(vertices: Tensor, faces: Tensor) -> np.ndarray:
    """Centre and scale vertices [V, 3] to mean edge length 1, float32: xatlas drops faces of tiny absolute area."""
    positions = vertices.detach().cpu().double()
    corners = positions[faces.cpu()]
    length = float((corners - corners.roll(1, 1)).norm(dim=2).mean())
    middle = corners.mean((0, 1))
    return ((positions - middle) / (length if length > 0 else 1.0)).float().numpy()
