"""Values between two bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.parametrization import CURVED, Parametrization
from diffrender.fit.parametrizations.unit_interval import MARGIN, SLACK, UnitInterval


@dataclass(frozen=True)
class Bounded(Parametrization):
    """value = low + (high - low) / (1 + exp(-latent)): parameters of programs with a range.

    A value at a bound starts a thousandth of the range inside, where it can still move. Raises ConfigError unless low
    is below high, and both are finite.
    """

    reach: ClassVar[float] = CURVED

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ConfigError(
                f"bounded: the low bound must be below the high one, both finite, got {self.low:g} and {self.high:g}"
            )

    def is_at_end(self, value: Tensor) -> Tensor:
        """Return whether each number is so near an end of the range, about MARGIN of it, that it hardly moves."""
        share = (value - self.low) / (self.high - self.low)
        return (share < 2 * MARGIN) | (share > 1 - 2 * MARGIN)

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the value between the bounds."""
        return self.low + (self.high - self.low) * UnitInterval().value_of(latent)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the logit of the share of the range. Raises ShapeError for a value outside it."""
        check_finite("bounded", "value", value)
        share = (value.detach() - self.low) / (self.high - self.low)
        outside = (share < -SLACK) | (share > 1 + SLACK)
        if bool(outside.any()):
            wrong = value[outside].reshape(-1)[0].item()
            raise ShapeError(f"bounded: values must be in {self.low:g}..{self.high:g}, got {wrong:g}")
        inside = share.clamp(MARGIN, 1 - MARGIN)
        return inside.log() - (1 - inside).log()
