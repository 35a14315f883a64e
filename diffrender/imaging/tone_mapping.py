"""Tone mapping: from linear light to what a display can show. For pictures and videos, never for fits or scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError

# The Khronos curve: colours up to the first constant are unchanged, except that the light which any dielectric reflects
# from white surroundings (0.04) is subtracted; very bright ones lose their saturation at the second rate.
_COMPRESSED_FROM = 0.8 - 0.04
_DESATURATION = 0.15
_REFLECTED = 0.04
# The largest exposure: a million times brighter or darker.
LARGEST_EXPOSURE_STOPS = 20.0


def _clip(linear: Tensor) -> Tensor:
    return linear.clamp(0, 1)


def _neutral(linear: Tensor) -> Tensor:
    color = linear.clamp_min(0)
    least = color.amin(-1, keepdim=True)
    color = color - torch.where(least < 2 * _REFLECTED, least - least.square() / (4 * _REFLECTED), _REFLECTED)
    peak = color.amax(-1, keepdim=True)
    room = 1 - _COMPRESSED_FROM
    new_peak = 1 - room**2 / (peak - _COMPRESSED_FROM + room).clamp_min(room)
    grayness = 1 - 1 / (_DESATURATION * (peak - new_peak) + 1)
    compressed = torch.lerp(color * new_peak / peak.clamp_min(_COMPRESSED_FROM), new_peak.expand_as(color), grayness)
    # Infinity becomes white, where the formula gives NaN; NaN stays NaN.
    return torch.where(peak > _COMPRESSED_FROM, compressed, color).where(~peak.isinf(), 1.0)


# clip: as cameras do. neutral: the Khronos PBR Neutral tone mapper (2024), which preserves base colours and compresses
# highlights.
TONE_CURVES: dict[str, Callable[[Tensor], Tensor]] = {"clip": _clip, "neutral": _neutral}


@dataclass(frozen=True)
class Display:
    """The display transform of linear light.

    exposure: in stops, -LARGEST_EXPOSURE_STOPS..LARGEST_EXPOSURE_STOPS: light is multiplied by 2^exposure first.
    tone: the name of a curve in TONE_CURVES, which then maps it to 0..1.
    """

    exposure: float = 0.0
    tone: str = "clip"

    def __post_init__(self) -> None:
        if not abs(self.exposure) <= LARGEST_EXPOSURE_STOPS:  # `not`, to refuse NaN as well
            raise ConfigError(
                f"display: exposure must be from -{LARGEST_EXPOSURE_STOPS:g} to {LARGEST_EXPOSURE_STOPS:g} stops, got"
                f" {self.exposure}"
            )
        if self.tone not in TONE_CURVES:
            raise ConfigError(f"display: tone must be one of {', '.join(TONE_CURVES)}, got {self.tone!r}")

    def map_tones(self, linear: Tensor) -> Tensor:
        """Map linear RGB [..., 3 or 4] of any brightness to linear RGB in 0..1; a fourth channel is unchanged."""
        color = TONE_CURVES[self.tone](linear[..., :3] * 2.0**self.exposure)
        return torch.cat([color, linear[..., 3:]], -1)


# No exposure; light is only clipped to 0..1.
PLAIN = Display()
