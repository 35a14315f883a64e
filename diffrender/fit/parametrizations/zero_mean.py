"""Numbers that add up to nothing: exposures, of which only the differences can be known."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class ZeroMean(Parametrization):
    """value = latent - its mean. Twice the exposure of every picture is the same as twice the light."""

    def value_of(self, latent: Tensor) -> Tensor:
        """The latent without its mean."""
        return latent - latent.mean()

    def latent_of(self, value: Tensor) -> Tensor:
        """The value without its mean, which is forgotten."""
        check_finite("zero_mean", "value", value)
        if value.dim() != 1:
            raise ShapeError(f"zero_mean: values must be a list of numbers, got shape {list(value.shape)}")
        return value.detach() - value.detach().mean()
