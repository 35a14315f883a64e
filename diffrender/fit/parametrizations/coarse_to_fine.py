"""Coarse-to-fine images: learned at several resolutions at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.parametrization import Parametrization
from diffrender.ops.collapse_pyramid import collapse_pyramid

# Weight of the coarser images, which slows them under steps of equal size. At 1, textures with sharp edges (a painted
# cow in known light) lost 1.4 dB on held-out views against texels alone, at 0.5 half a dB; if material and light are
# both unknown, either gains 3 dB.
COARSE_SHARE = 0.5


@dataclass(frozen=True)
class CoarseToFine(Parametrization):
    """Texels [H, W, C] of a texture or an environment map; the latent is an image pyramid, whose levels are summed.

    The texels are `inner` applied to a sum: an image of H x W, plus half of each of `levels` coarser images, each half
    the height and width of the one before and bilinearly upsampled. Under Adam every number makes steps of the same
    size, however weak and noisy its gradient: texels alone follow their noise and are slow to learn what a whole region
    has in common. The coarse images learn that in few steps, and detail that no picture resolves stays smooth.

    inner: the parametrisation of the texels, whose latents have the shape of its values.
    height, width: H and W, each a multiple of 2^levels.
    levels: number of coarser images, at least 1.
    closed: whether the last column is adjacent to the first, as in an environment map.

    The latent is [L, C]: the texels of all images, row by row, finest first.
    Source: the sum of a Laplacian pyramid (Burt & Adelson 1983), here with an unconstrained image at each level.
    """

    inner: Parametrization
    height: int
    width: int
    levels: int
    closed: bool = False

    def __post_init__(self) -> None:
        unit = 2**self.levels
        if self.levels < 1 or self.height % unit or self.width % unit:
            most = most_levels(self.height, self.width, 1)
            raise ConfigError(
                f"coarse_to_fine: levels must be in 1..{most}, as often as an image of {self.height} x {self.width} can"
                f" be halved, got {self.levels}"
            )

    @property
    def reach(self) -> float:  # type: ignore[override]
        """That of the texels."""
        return self.inner.reach

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the texels [H, W, C]."""
        total = collapse_pyramid(latent, self.height, self.width, self.levels, COARSE_SHARE, self.closed)
        return self.inner.value_of(total)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return a latent with `value` in the finest image, else zeros. Raises ShapeError for another image size."""
        if not is_image(value) or value.shape[:2] != (self.height, self.width):
            raise ShapeError(
                f"coarse_to_fine: values must be images [{self.height}, {self.width}, C], got {list(value.shape)}"
            )
        finest = self.inner.latent_of(value).flatten(0, 1)
        coarser = sum((self.height >> level) * (self.width >> level) for level in range(1, self.levels + 1))
        return torch.cat([finest, finest.new_zeros(coarser, finest.shape[1])])


def is_image(value: Tensor) -> bool:
    """Return whether a scene value is texels [H, W, C]; colours and vertices have fewer axes, poses are 4 x 4."""
    return value.dim() == 3


def most_levels(height: int, width: int, least: int) -> int:
    """Return how often an image can be halved with both sides even and at least `least` afterwards."""
    levels = 0
    while height % 2 == width % 2 == 0 and min(height, width) // 2 >= least:
        height, width, levels = height // 2, width // 2, levels + 1
    return levels
