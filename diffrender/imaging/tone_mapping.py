"""From light to what a display can show: for pictures and videos alone, never for what is fitted or scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError

# Khronos' curve: colours up to the first stay as they are, but for the light that any dielectric reflects of a white
# surrounding (0.04); very bright ones lose their saturation at this rate.
_COMPRESSED_FROM = 0.8 - 0.04
_DESATURATION = 0.15
_REFLECTED = 0.04
# Of exposure: a million times brighter or darker.
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
    # An infinity is as white as can be, which the formula would make a NaN; a NaN stays one.
    return torch.where(peak > _COMPRESSED_FROM, compressed, color).where(~peak.isinf(), 1.0)


# clip: as cameras do. neutral: the Khronos PBR Neutral tone mapper (2024), which keeps base colours and rolls
# highlights off.
TONE_CURVES: dict[str, Callable[[Tensor], Tensor]] = {"clip": _clip, "neutral": _neutral}


@dataclass(frozen=True)
class Display:
    """How linear light is shown.

    exposure: in stops, -LARGEST_EXPOSURE_STOPS..LARGEST_EXPOSURE_STOPS: light is multiplied by 2^exposure first.
    tone: the name of a curve in TONE_CURVES, which brings it to 0..1.
    """

    exposure: float = 0.0
    tone: str = "clip"

    def __post_init__(self) -> None:
        if not abs(self.exposure) <= LARGEST_EXPOSURE_STOPS:  # a NaN neither
            raise ConfigError(
                f"display: exposure must be from -{LARGEST_EXPOSURE_STOPS:g} to {LARGEST_EXPOSURE_STOPS:g} stops, got"
                f" {self.exposure}"
            )
        if self.tone not in TONE_CURVES:
            raise ConfigError(f"display: there is no tone {self.tone!r}; choose from {', '.join(TONE_CURVES)}")

    def map_tones(self, linear: Tensor) -> Tensor:
        """Return [..., 3 or 4] linear RGB in 0..1 of linear RGB of any brightness; a fourth channel stays as it is."""
        color = TONE_CURVES[self.tone](linear[..., :3] * 2.0**self.exposure)
        return torch.cat([color, linear[..., 3:]], -1)


# As the light is.
PLAIN = Display()
