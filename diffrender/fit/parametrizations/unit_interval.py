"""Values in the unit interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import CURVED, Parametrization

# Initial values are at least this far inside: at 0 and 1 the latent would be infinite and could not change.
MARGIN = 1e-3
# Tolerance for rounding beyond 0 and 1: colour conversions give 1.0000001.
SLACK = 1e-5


@dataclass(frozen=True)
class UnitInterval(Parametrization):
    """value = 1 / (1 + exp(-latent)): colours, albedos."""

    reach: ClassVar[float] = CURVED

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the logistic function of the latent."""
        # By tanh, not sigmoid: on CPU torch rounds sigmoid differently where the ranges of two threads meet, so that
        # a run would depend on the number of threads.
        return (latent * 0.5).tanh() * 0.5 + 0.5

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the logit of the value clamped to [0.001, 0.999]."""
        check_finite("unit_interval", "value", value)
        outside = (value < -SLACK) | (value > 1 + SLACK)
        if bool(outside.any()):
            raise ShapeError(
                f"unit_interval: values must be in 0..1, got {value[outside].reshape(-1)[0].item():g};"
                " scale them down, or choose method: positive"
            )
        inside = value.detach().clamp(MARGIN, 1 - MARGIN)
        return inside.log() - (1 - inside).log()
