"""Blurring lat-long maps with round lobes: linear in the texels, by weights that are worked out once.

A lobe looks the same from every direction, so in a lat-long map it depends on the two rows and on the *difference* of
the two columns alone: along the rows the blur is a convolution around the circle, a product after a Fourier transform.
What is left is one small matrix a frequency, from row to row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from diffrender.scene.environment.directions import map_directions
from diffrender.scene.environment.lobes import cosine_kernel, highlight_kernel


def downsample(texels: Tensor, height: int) -> Tensor:
    """[height, 2 height, C]: the map [H, W, C] at a smaller size; each texel the mean over its solid angle."""
    if height >= len(texels):
        return texels
    _, solid_angle = map_directions(len(texels), texels.shape[1], texels)
    weight = solid_angle.reshape(1, 1, *texels.shape[:2])
    pool = torch.nn.functional.adaptive_avg_pool2d
    size = (height, 2 * height)
    summed = pool(texels.permute(2, 0, 1)[None] * weight, size) / pool(weight, size)
    return summed[0].permute(1, 2, 0)


def convolve_highlight(texels: Tensor, roughness: float) -> Tensor:
    """[H, W, C]: in each direction the mean of the map [H, W, C] over a highlight's lobe of this roughness."""
    return _convolve(texels, _highlight_weights(*texels.shape[:2], roughness))


def convolve_cosine(texels: Tensor) -> Tensor:
    """[H, W, C]: in each direction the cosine-weighted mean of the map [H, W, C] over the hemisphere around it."""
    return _convolve(texels, _cosine_weights(*texels.shape[:2]))


def _convolve(texels: Tensor, weights: Tensor) -> Tensor:
    width, channels = texels.shape[1:]
    # [frequency, row, 2 C]: the weights are real, so real and imaginary parts are two more channels.
    waves = torch.view_as_real(torch.fft.rfft(texels, dim=1).permute(1, 0, 2)).flatten(2)
    mixed = torch.bmm(weights.to(texels.device, texels.dtype), waves).unflatten(2, (channels, 2))
    return torch.fft.irfft(torch.view_as_complex(mixed).permute(1, 0, 2), n=width, dim=1)


@cache
def _highlight_weights(height: int, width: int, roughness: float) -> Tensor:
    return _weights(height, width, lambda cosine: highlight_kernel(cosine, roughness))


@cache
def _cosine_weights(height: int, width: int) -> Tensor:
    return _weights(height, width, cosine_kernel)


@torch.no_grad()
def _weights(height: int, width: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """[W / 2 + 1, H, H] float32: for each frequency, from input rows to output rows; a constant map stays itself."""
    like = torch.zeros((), dtype=torch.float64)
    directions, solid_angle = map_directions(height, width, like)
    first = directions.unflatten(0, (height, width))[:, 0]
    rows = []
    for row in range(height):
        # From texel (row, column 0) to all texels.
        value = kernel(directions @ first[row]) * solid_angle
        rows.append((value / value.sum()).reshape(height, width))
    # The lobe is even in the difference of the columns, so its transform is real.
    return torch.fft.rfft(torch.stack(rows), dim=2).real.permute(2, 0, 1).float().contiguous()
