"""Unconstrained values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class Identity(Parametrization):
    """The latent is the value: vertices, positions."""

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the latent."""
        # A view, because a scene holds plain tensors even where the latent is an nn.Parameter.
        return latent.view_as(latent)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return a copy of `value`."""
        check_finite("identity", "value", value)
        return value.detach().clone()
