"""White balance: gains that change neither overall brightness nor overall colour."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class Balanced(Parametrization):
    """value = exp(latent minus the means of its rows and columns).

    The gains [N, C] of each picture have a geometric mean of 1, since a gain that all channels share is exposure. So do
    the gains of each channel, since a cast that all pictures share is the colour of the light.
    """

    def value_of(self, latent: Tensor) -> Tensor:
        """Return exp of the latent without the means of rows and columns."""
        return _subtract_means(latent).exp()

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the log of `value` without the means of rows and columns, which are discarded."""
        check_finite("balanced", "value", value)
        if value.dim() != 2 or not bool((value > 0).all()):
            raise ShapeError(
                f"balanced: values must be gains above 0, one row per picture; got shape {list(value.shape)}"
                f"{'' if bool((value > 0).all()) else f' and {value.min().item():g}'}"
            )
        return _subtract_means(value.detach().log())


def _subtract_means(latent: Tensor) -> Tensor:
    return latent - latent.mean(0, keepdim=True) - latent.mean(1, keepdim=True) + latent.mean()
