"""Gains that leave the whole as bright and as coloured as it is: white balances."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class Balanced(Parametrization):
    """value = exp(latent), without the means of the latent's rows and columns.

    The gains [N, C] of a picture have a geometric mean of 1, since what all its channels share is its exposure; and so
    have those of a channel, since a cast of all pictures is the colour of the light.
    """

    def value_of(self, latent: Tensor) -> Tensor:
        """exp of what is left of the latent."""
        return _without_means(latent).exp()

    def latent_of(self, value: Tensor) -> Tensor:
        """log, without the means of rows and columns, which are forgotten."""
        check_finite("balanced", "value", value)
        if value.dim() != 2 or not bool((value > 0).all()):
            raise ShapeError(
                f"balanced: values must be gains above 0, a row for each picture; got shape {list(value.shape)}"
                f"{'' if bool((value > 0).all()) else f' and {value.min().item():g}'}"
            )
        return _without_means(value.detach().log())


def _without_means(latent: Tensor) -> Tensor:
    return latent - latent.mean(0, keepdim=True) - latent.mean(1, keepdim=True) + latent.mean()
