"""Values with zero mean: exposures, of which only the differences are observable."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class ZeroMean(Parametrization):
    """value = latent - mean(latent): doubling the exposure of all pictures is the same as doubling the light."""

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the latent minus its mean."""
        return latent - latent.mean()

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the value minus its mean, which is discarded."""
        check_finite("zero_mean", "value", value)
        if value.dim() != 1:
            raise ShapeError(f"zero_mean: values must be a list of numbers, got shape {list(value.shape)}")
        return value.detach() - value.detach().mean()
