"""Monotone curves from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import CURVED, Parametrization

# Of the mean increment: a curve that is flat says nothing of the light.
LEAST = 1e-3


@dataclass(frozen=True)
class Monotone(Parametrization):
    """Values [..., K - 1] of curves at evenly spaced knots; the latent [..., K] is the logarithms of the increments.

    These are positive and add up to 1, the end of the curve; a step changes an increment by a fraction of itself.
    """

    reach: ClassVar[float] = CURVED

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the sums of the increments, without the last, which is 1."""
        steps = latent.softmax(-1) * (1 - LEAST) + LEAST / latent.shape[-1]
        return steps.cumsum(-1)[..., :-1]

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the logarithms of the increments. Raises ShapeError unless the curve increases from 0 to 1."""
        check_finite("monotone", "value", value)
        if value.dim() < 1 or value.shape[-1] < 1:
            raise ShapeError(f"monotone: values must be of one knot at least, got shape {list(value.shape)}")
        ends = torch.nn.functional.pad(value, (1, 0)), torch.nn.functional.pad(value, (0, 1), value=1.0)
        steps = (ends[1] - ends[0]).detach()
        if not bool((steps > 0).all()):
            raise ShapeError(f"monotone: values must increase from 0 to 1, got {value.reshape(-1).tolist()[:8]}")
        n_steps = steps.shape[-1]
        inner = ((steps - LEAST / n_steps) / (1 - LEAST)).clamp_min(LEAST * LEAST / n_steps).log()
        return inner - inner.mean(-1, keepdim=True)
