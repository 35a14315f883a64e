"""Prefiltering: convolution of lat-long maps with rotationally symmetric lobes, linear in the texels.

In a lat-long map such a lobe depends on the two rows and on the *difference* of the two columns only: along the rows it
is a circular convolution, a product after a Fourier transform. What remains is one small matrix per frequency, from row
to row, which is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from diffrender.derivatives import on_plain_tensors
from diffrender.scene.environment.prefilter_lobes import cosine_kernel, highlight_kernel
from diffrender.scene.environment.sphere_directions import map_directions


def downsample(texels: Tensor, height: int) -> Tensor:
    """Downsample the map [H, W, C] to [height, 2 height, C]; each texel is the mean over its solid angle."""
    if height >= len(texels):
        return texels
    _, solid_angle = map_directions(len(texels), texels.shape[1], texels)
    weight = solid_angle.reshape(1, 1, *texels.shape[:2])
    pool = torch.nn.functional.adaptive_avg_pool2d
    size = (height, 2 * height)
    summed = pool(texels.permute(2, 0, 1)[None] * weight, size) / pool(weight, size)
    return summed[0].permute(1, 2, 0)


def convolve_highlight(texels: Tensor, roughness: float) -> Tensor:
    """Convolve the map [H, W, C] with a highlight's lobe: [H, W, C] means around each direction."""
    return _convolve(texels, _highlight_weights(*texels.shape[:2], roughness, texels.dtype, texels.device))


def convolve_cosine(texels: Tensor) -> Tensor:
    """Convolve the map [H, W, C] with the clamped cosine: [H, W, C] means over the hemisphere of each direction."""
    return _convolve(texels, _cosine_weights(*texels.shape[:2], texels.dtype, texels.device))


def _convolve(texels: Tensor, weights: Tensor) -> Tensor:
    width, channels = texels.shape[1:]
    # [frequency, row, 2 C]: the weights are real, so real and imaginary parts are two more channels.
    waves = torch.view_as_real(torch.fft.rfft(texels, dim=1).permute(1, 0, 2)).flatten(2)
    mixed = torch.bmm(weights, waves).unflatten(2, (channels, 2))
    return torch.fft.irfft(torch.view_as_complex(mixed).permute(1, 0, 2), n=width, dim=1)


# Kept on the device: each copy to it waits for it.
@cache
@on_plain_tensors()
def _highlight_weights(height: int, width: int, roughness: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _weights(height, width, lambda cosine: highlight_kernel(cosine, roughness)).to(device, dtype)


@cache
@on_plain_tensors()
def _cosine_weights(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _weights(height, width, cosine_kernel).to(device, dtype)


@on_plain_tensors()
def _weights(height: int, width: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute [W / 2 + 1, H, H] float32 weights by frequency, output row, input row; a constant map is preserved."""
    like = torch.zeros((), dtype=torch.float64, device="cpu")
    directions, solid_angle = map_directions(height, width, like)
    first = directions.unflatten(0, (height, width))[:, 0]
    rows = []
    for row in range(height):
        # From texel (row, column 0) to all texels.
        value = kernel(directions @ first[row]) * solid_angle
        rows.append((value / value.sum()).reshape(height, width))
    # The lobe is even in the difference of the columns, so its transform is real.
    return torch.fft.rfft(torch.stack(rows), dim=2).real.permute(2, 0, 1).float().contiguous()
