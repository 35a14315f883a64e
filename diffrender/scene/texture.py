"""Texture: an image on a surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape


@dataclass(frozen=True)
class Texture:
    """An image addressed by texture coordinates, repeated outside 0..1.

    texels: [H, W, C] float, linear; texel (row i, column j) has its centre at uv = ((j + 0.5) / W, (i + 0.5) / H).
    """

    texels: Tensor

    def __post_init__(self) -> None:
        check_shape("Texture", "texels", self.texels, ("H", "W", "C"))
        check_float("Texture", "texels", self.texels)

    def sample(self, uv: Tensor) -> Tensor:
        """Bilinear value [M, C] at uv [M, 2]; differentiable in texels and uv."""
        height, width, _ = self.texels.shape
        x = uv[:, 0] * width - 0.5
        y = uv[:, 1] * height - 0.5
        left, top = x.floor(), y.floor()
        fx, fy = (x - left)[:, None], (y - top)[:, None]
        column = left.long().remainder(width)
        row = top.long().remainder(height)
        next_column = (column + 1).remainder(width)
        next_row = (row + 1).remainder(height)

        def fetch(rows: Tensor, columns: Tensor) -> Tensor:
            return self.texels.reshape(height * width, -1).index_select(0, rows * width + columns)

        upper = torch.lerp(fetch(row, column), fetch(row, next_column), fx)
        lower = torch.lerp(fetch(next_row, column), fetch(next_row, next_column), fx)
        return torch.lerp(upper, lower, fy)
