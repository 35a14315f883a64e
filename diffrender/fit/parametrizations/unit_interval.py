"""Numbers between zero and one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization

# Values start at least this far inside: at the ends themselves the latent would be infinite and nothing could move.
MARGIN = 1e-3
# Rounding that is forgiven beyond 0 and 1: colour conversions give 1.0000001.
SLACK = 1e-5


@dataclass(frozen=True)
class UnitInterval(Parametrization):
    """value = 1 / (1 + exp(-latent)): colours, albedos."""

    def value_of(self, latent: Tensor) -> Tensor:
        """The logistic function."""
        # By tanh, not sigmoid: on CPU torch rounds sigmoid differently at the seams between threads, so that a run
        # would depend on their number.
        return (latent * 0.5).tanh() * 0.5 + 0.5

    def latent_of(self, value: Tensor) -> Tensor:
        """The logit of the value moved into [0.001, 0.999]."""
        check_finite("unit_interval", "value", value)
        outside = (value < -SLACK) | (value > 1 + SLACK)
        if bool(outside.any()):
            raise ShapeError(
                f"unit_interval: values must lie in 0..1, got {value[outside].reshape(-1)[0].item():g};"
                " scale them down, or choose method: positive"
            )
        inside = value.detach().clamp(MARGIN, 1 - MARGIN)
        return inside.log() - (1 - inside).log()
