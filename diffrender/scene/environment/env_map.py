"""SkyMap: radiance from every direction as an image, and its blurred copies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape
from diffrender.errors import ShapeError
from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS
from diffrender.ops.mip_pyramid import MipPyramid
from diffrender.ops.sample_texture import sample_texture
from diffrender.scene.environment.directions import map_places
from diffrender.scene.environment.prefilter import convolve_cosine, convolve_highlight, downsample

# Heights are multiples of this, so that all copies can be continued by the same part of their height beyond the poles.
HEIGHT_UNIT = 16
POLE_SHARE = 8
# Roughness of the blurred copies: alpha = roughness^2 from 1/32 to 1 in steps of sqrt(2). The map itself comes first.
STEPS_AN_OCTAVE = 4
FIRST_BLUR = 2**-2.5
BLURS = tuple(FIRST_BLUR * 2 ** (step / STEPS_AN_OCTAVE) for step in range(11))
# Height of a copy: three texels over the width at half height of its lobe, 2.6 alpha; the cosine lobe varies slowly.
TEXELS_OVER_ALPHA = 3.6
TALLEST_BLUR = 128
COSINE_HEIGHT = 32


@dataclass(frozen=True)
class EnvMap:
    """A lat-long image of the sky, seen from inside.

    texels: [H, 2 H, 3] radiance, linear RGB; H a multiple of 16. Row 0 is around +y; the middle is at +x, and to the
        right of it is +z.
    """

    texels: Tensor

    def __post_init__(self) -> None:
        check_shape("SkyMap", "texels", self.texels, ("H", "2 H", 3))
        check_float("SkyMap", "texels", self.texels)
        height, width = self.texels.shape[:2]
        if height == 0 or height % HEIGHT_UNIT or width != 2 * height:
            fitting = max(1, math.ceil(height / HEIGHT_UNIT)) * HEIGHT_UNIT
            raise ShapeError(
                f"SkyMap: texels must be twice as wide as high, and their height a multiple of {HEIGHT_UNIT}, got"
                f" {height} x {width}; resize the map, to {fitting} x {2 * fitting} for instance"
            )

    def prefiltered(self) -> PrefilteredEnvMap:
        """Its blurred copies: worked out once where the texels are fixed, anew where they carry a gradient."""
        # A graph that is kept could be gone through backwards only once.
        return _prefilter(self.texels) if self.texels.requires_grad else self._kept

    @cached_property
    def _kept(self) -> PrefilteredEnvMap:
        return _prefilter(self.texels)


@dataclass(frozen=True)
class PrefilteredEnvMap:
    """A sky's copies, blurred by lobes of all widths; means over lobes are look-ups in it.

    highlights: the map, and it blurred by highlights of each roughness of BLURS, continued beyond the poles.
    hemispheres: it blurred by the cosine, likewise.
    """

    highlights: MipPyramid
    hemispheres: MipPyramid

    def mean_radiance(self, directions: Tensor, backend: str | None) -> Tensor:
        """[M, 3] cosine-weighted means around unit directions [M, 3] of the map; differentiable in all."""
        return sample_texture(self.hemispheres, _places(directions), backend=backend)

    def lobe(self, directions: Tensor, roughness: Tensor, backend: str | None) -> Tensor:
        """[M, 3] means over highlights around unit directions [M, 3], as wide as roughness [M or 1, 1] in 0..1."""
        roughness = roughness[:, 0].expand(len(directions))
        below = (roughness - LEAST_ROUGHNESS) / (FIRST_BLUR - LEAST_ROUGHNESS)
        above = 1 + STEPS_AN_OCTAVE * (roughness.clamp_min(FIRST_BLUR) / FIRST_BLUR).log2()
        level = torch.where(roughness < FIRST_BLUR, below.clamp_min(0), above)
        # The op finds its level as the logarithm of a width.
        return sample_texture(self.highlights, _places(directions), level.exp2(), backend=backend)


def _prefilter(texels: Tensor) -> PrefilteredEnvMap:
    copies = [texels]
    for roughness in BLURS:
        height = HEIGHT_UNIT
        while height < min(TEXELS_OVER_ALPHA / roughness**2, TALLEST_BLUR) and 2 * height <= len(texels):
            height *= 2
        copies.append(convolve_highlight(downsample(texels, height), roughness))
    return PrefilteredEnvMap(_pyramid(copies), _pyramid([convolve_cosine(downsample(texels, COSINE_HEIGHT))]))


def _pyramid(copies: list[Tensor]) -> MipPyramid:
    continued = [_beyond_poles(copy) for copy in copies]
    sizes = tuple((image.shape[0], image.shape[1]) for image in continued)
    return MipPyramid(torch.cat([image.flatten(0, 1) for image in continued]), sizes)


def _beyond_poles(image: Tensor) -> Tensor:
    """[H + 2 H / POLE_SHARE, W, C]: whoever goes on beyond a pole comes down on the other side."""
    height, width = image.shape[:2]
    rows = height // POLE_SHARE
    opposite = image.roll(width // 2, 1)
    return torch.cat([opposite[:rows].flip(0), image, opposite[height - rows :].flip(0)])


def _places(directions: Tensor) -> Tensor:
    """[M, 2] uv of directions in a map continued beyond the poles."""
    u, v = map_places(directions)
    return torch.stack([u, (v + 1 / POLE_SHARE) / (1 + 2 / POLE_SHARE)], 1)
