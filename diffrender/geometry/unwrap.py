"""Texture coordinates for meshes that have none."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_finite, check_float, check_indices_below, check_shape
from diffrender.errors import ShapeError

# The gutter is resolution / 2^7 texels wide: charts stay apart where the texture is seen at 128 texels or more.
CLEAN_LEVELS = 7
LEAST_PADDING = 2
# xatlas pads each chart, so that two are twice as far apart; but it meets the wanted size only roughly (by up to a
# third), and the charts are shrunk to that: this share of the padding is enough, as the tests find.
SPACING = 0.75


class UvLayout(NamedTuple):
    """Where a mesh's faces are in a square texture; no two overlap.

    uvs: [T, 2] in 0..1. uv_faces: [F, 3] int64; `uv_faces[f, c] = t` means that corner c of face f has uvs[t].
    """

    uvs: Tensor
    uv_faces: Tensor


def default_padding(resolution: int) -> int:
    """Return how many texels stay free between two charts of a square texture, unless told."""
    return max(LEAST_PADDING, resolution >> CLEAN_LEVELS)


def unwrap(vertices: Tensor, faces: Tensor, resolution: int, padding: int | None = None) -> UvLayout:
    """Cut a surface into charts, flatten them and pack them into a square: always in the same way.

    Charts have about the same scale everywhere. The mesh itself stays as it is: vertices are shared across seams.

    vertices: [V, 3] float; faces: [F, 3] int64, any mesh, in any unit.
    resolution: texels along each side of the texture; padding: texels that stay free between charts.
    Takes about half a second for 5,000 faces, two for 20,000.
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
        raise ShapeError(f"unwrap: resolution must be at least 1 and padding 0, got {resolution} and {padding}")
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(_unit_edges(vertices, faces), faces.cpu().numpy().astype(np.uint32))
    options = xatlas.PackOptions()
    options.resolution, options.padding = resolution, math.ceil(SPACING * padding)
    atlas.generate(xatlas.ChartOptions(), options)
    source, uv_faces, uvs = atlas[0]
    assert np.array_equal(source[uv_faces], faces.cpu().numpy())
    uvs = np.nan_to_num(uvs)  # of a mesh without any area
    # One scale for both axes, so that texels are square on the surface.
    scale = np.array([atlas.width, atlas.height]) / max(atlas.width, atlas.height, 1)
    return UvLayout(
        torch.from_numpy(uvs * scale).to(vertices), torch.from_numpy(uv_faces.astype(np.int64)).to(faces.device)
    )


def _unit_edges(vertices: Tensor, faces: Tensor) -> np.ndarray:
    """Return float32 [V, 3] about the origin, edges of mean length 1: xatlas drops faces of a tiny absolute area."""
    positions = vertices.detach().cpu().double()
    corners = positions[faces.cpu()]
    length = float((corners - corners.roll(1, 1)).norm(dim=2).mean())
    middle = corners.mean((0, 1))
    return ((positions - middle) / (length if length > 0 else 1.0)).float().numpy()
