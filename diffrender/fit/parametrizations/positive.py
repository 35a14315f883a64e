"""Positive values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import CURVED, Parametrization


@dataclass(frozen=True)
class Positive(Parametrization):
    """value = exp(latent): a step changes the value by a fraction of itself, whatever its size."""

    reach: ClassVar[float] = CURVED

    def value_of(self, latent: Tensor) -> Tensor:
        """Return exp(latent)."""
        return latent.exp()

    def latent_of(self, value: Tensor) -> Tensor:
        """Return log(value)."""
        check_finite("positive", "value", value)
        if not bool((value > 0).all()):
            raise ShapeError(
                f"positive: values must be above 0, got {value.min().item():g}; start from a small positive number"
            )
        return value.detach().log()
