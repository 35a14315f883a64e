"""Fragments: the points of surfaces that an image is made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """M samples of the image that see a surface; the rest of the image is background and costs nothing.

    pixel: [M] int64; `pixel[m] = (n H + i) W + j` means that sample m lies in row i, column j of view n. Samples of
        one pixel stand next to each other.
    face_id: [M] int64; `face_id[m] = f` means that it sees face f of the scene's triangle list.
    place_px: [M, 2] where in the image it is, (x, y) in pixels.
    weight: [M] share of its pixel that it stands for.
    """

    pixel: Tensor
    face_id: Tensor
    place_px: Tensor
    weight: Tensor
