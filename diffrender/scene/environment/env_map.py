"""EnvMap: radiance from all directions as an image, and its prefiltered copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape
from diffrender.derivatives import constant, has_derivative, on_plain_tensors
from diffrender.errors import ShapeError
from diffrender.list_sizes import hold, is_kept
from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS
from diffrender.ops.lat_long_uv import lat_long_uv
from diffrender.ops.mip_pyramid import MipPyramid
from diffrender.ops.sample_texture import sample_texture
from diffrender.scene.environment.prefilter import convolve_cosine, convolve_highlight, downsample

# Heights are multiples of this, so that all copies can be padded beyond the poles by the same fraction of their height.
HEIGHT_UNIT = 16
POLE_SHARE = 8
# Roughness of the prefiltered copies: alpha = roughness^2 from 1/32 to 1 in steps of sqrt(2), after the map itself.
STEPS_PER_OCTAVE = 4
FIRST_BLUR = 2**-2.5
BLURS = tuple(FIRST_BLUR * 2 ** (step / STEPS_PER_OCTAVE) for step in range(11))
# Height of a copy: three texels across the full width at half maximum of its lobe, 2.6 alpha; the cosine lobe is wide.
TEXELS_OVER_ALPHA = 3.6
TALLEST_BLUR = 128
COSINE_HEIGHT = 32


@dataclass(frozen=True)
class EnvMap:
    """A lat-long environment map, seen from inside; the radiance of an `Environment` light.

    texels: [H, 2 H, 3] float radiance, linear RGB, at least 0; H is a multiple of 16. Row 0 is around +y, the middle
        of the map is at +x, and +z is to the right of it.

    Raises ShapeError for another shape or dtype. `scene.environment.prefilter.downsample` makes a map smaller.
    """

    texels: Tensor

    def __post_init__(self) -> None:
        check_shape("EnvMap", "texels", self.texels, ("H", "2 H", 3))
        check_float("EnvMap", "texels", self.texels)
        height, width = self.texels.shape[:2]
        if height == 0 or height % HEIGHT_UNIT or width != 2 * height:
            fitting = max(1, math.ceil(height / HEIGHT_UNIT)) * HEIGHT_UNIT
            raise ShapeError(
                f"EnvMap: texels must be twice as wide as high, and their height a multiple of {HEIGHT_UNIT}, got"
                f" {height} x {width}; resize the map, for instance to {fitting} x {2 * fitting}"
            )

    def prefiltered(self) -> PrefilteredEnvMap:
        """Return its prefiltered copies: kept while the texels stay as they are, unless they need a gradient."""
        # A cached autograd graph could be traversed backwards only once.
        if has_derivative(self.texels):
            return _prefilter(self.texels)
        with on_plain_tensors():
            texels = constant(self.texels)
            kept: tuple[Tensor, PrefilteredEnvMap] | None = self.__dict__.get("_kept")
            # Contents are compared, since writes through NumPy leave no trace.
            if kept is None or not (is_kept() or torch.equal(kept[0], texels)):
                kept = texels.clone(), _prefilter(texels)
                object.__setattr__(self, "_kept", kept)
            return hold(kept)[1]


@dataclass(frozen=True)
class PrefilteredEnvMap:
    """An environment map convolved with lobes of all widths: the mean over a lobe is one look-up.

    highlights: the map, and the map convolved with GGX lobes of each roughness of BLURS, padded beyond the poles.
    hemispheres: the map convolved with the clamped cosine, padded beyond the poles.
    """

    highlights: MipPyramid
    hemispheres: MipPyramid

    def mean_radiance(self, directions: Tensor, backend: str | None) -> Tensor:
        """Return [M, 3] cosine-weighted means around unit directions [M, 3] of the map; differentiable."""
        uv = lat_long_uv(directions, 1 / POLE_SHARE, backend=backend)
        return sample_texture(self.hemispheres, uv, backend=backend)

    def lobe(self, directions: Tensor, roughness: Tensor, backend: str | None) -> Tensor:
        """Return [M, 3] means over GGX lobes of `roughness` [M or 1, 1] in 0..1 around unit directions [M, 3]."""
        roughness = roughness[:, 0].expand(len(directions))
        # The op takes the level as the logarithm of a footprint. It is 1 at the first of the blurred copies, and the
        # next ones follow in even steps of log(roughness); between the map and that one it is linear in roughness.
        sharp = ((roughness - LEAST_ROUGHNESS) / (FIRST_BLUR - LEAST_ROUGHNESS)).clamp(0, 1).exp2()
        blurred = 2 * (roughness / FIRST_BLUR) ** STEPS_PER_OCTAVE
        footprint = torch.where(roughness < FIRST_BLUR, sharp, blurred)
        uv = lat_long_uv(directions, 1 / POLE_SHARE, backend=backend)
        return sample_texture(self.highlights, uv, footprint, backend=backend)


def _prefilter(texels: Tensor) -> PrefilteredEnvMap:
    copies = [texels]
    for roughness in BLURS:
        height = HEIGHT_UNIT
        while height < min(TEXELS_OVER_ALPHA / roughness**2, TALLEST_BLUR) and 2 * height <= len(texels):
            height *= 2
        copies.append(convolve_highlight(downsample(texels, height), roughness))
    return PrefilteredEnvMap(_pyramid(copies), _pyramid([convolve_cosine(downsample(texels, COSINE_HEIGHT))]))


def _pyramid(copies: list[Tensor]) -> MipPyramid:
    padded = [_pad_poles(copy) for copy in copies]
    sizes = tuple((image.shape[0], image.shape[1]) for image in padded)
    return MipPyramid(torch.cat([image.flatten(0, 1) for image in padded]), sizes)


def _pad_poles(image: Tensor) -> Tensor:
    """Pad both poles with the rows half a turn away: [H + 2 H / POLE_SHARE, W, C]."""
    height, width = image.shape[:2]
    rows = height // POLE_SHARE
    opposite = image.roll(width // 2, 1)
    return torch.cat([opposite[:rows].flip(0), image, opposite[height - rows :].flip(0)])
