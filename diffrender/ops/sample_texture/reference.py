"""Trilinear texture sampling in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.mip_pyramid import MipPyramid


def forward(
    texels: Tensor, sizes: tuple[tuple[int, int], ...], uv: Tensor, footprint: Tensor | None, wrap: str
) -> Tensor:
    """See op.sample_texture. Positions and levels in float64."""
    pyramid = MipPyramid(texels, sizes)
    if footprint is None:
        return _bilinear(pyramid.level(0), uv, wrap)
    level = _level(footprint, sizes)
    total = texels.new_zeros(len(uv), texels.shape[1])
    for index in range(len(sizes)):
        weight = (1 - (level - index).abs()).clamp_min(0)
        reached = torch.nonzero(weight > 0)[:, 0]
        values = _bilinear(pyramid.level(index), uv[reached], wrap) * weight[reached, None].to(texels.dtype)
        total = total.index_add(0, reached, values)
    return total


def _level(footprint: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """Return [M] the level in 0..L-1, with its fraction."""
    height, width = sizes[0]
    if footprint.dim() == 1:
        squared = footprint.double().square()
    else:
        in_texels = footprint.double() * torch.tensor([[width], [height]], device=footprint.device)
        squared = in_texels.square().sum((1, 2)) / 4
    return (0.5 * squared.clamp_min(1).log2()).clamp_max(len(sizes) - 1)


def _bilinear(image: Tensor, uv: Tensor, wrap: str) -> Tensor:
    """Return [M, C] of an image [H, W, C]."""
    height, width, channels = image.shape
    left, right, fx = _neighbours(uv[:, 0], width, wrap)
    above, below, fy = _neighbours(uv[:, 1], height, wrap)
    flat = image.reshape(height * width, channels)

    def fetch(row: Tensor, column: Tensor) -> Tensor:
        return flat.index_select(0, row * width + column)

    fx, fy = fx[:, None].to(image.dtype), fy[:, None].to(image.dtype)
    upper = fetch(above, left) * (1 - fx) + fetch(above, right) * fx
    lower = fetch(below, left) * (1 - fx) + fetch(below, right) * fx
    return upper * (1 - fy) + lower * fy


def _neighbours(coordinate: Tensor, size: int, wrap: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two texels on either side of each coordinate, and its fraction of the way from first to second."""
    coordinate = coordinate.double()
    coordinate = coordinate - coordinate.detach().floor() if wrap == "repeat" else coordinate.clamp(0, 1)
    x = coordinate * size - 0.5
    low = x.detach().floor()
    first = low.long()
    if wrap == "repeat":
        return first.remainder(size), (first + 1).remainder(size), x - low
    return first.clamp(0, size - 1), (first + 1).clamp(0, size - 1), x - low
