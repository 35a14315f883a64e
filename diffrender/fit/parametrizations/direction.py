"""Directions: unit vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class Direction(Parametrization):
    """value = latent / |latent| along the last axis: the direction of a light."""

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the unit vector."""
        return torch.nn.functional.normalize(latent, dim=-1)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return `value` normalized; its length is discarded."""
        check_finite("direction", "value", value)
        if value.dim() == 0 or value.shape[-1] < 2:
            raise ShapeError(f"direction: values must be vectors of 2 or more numbers, got shape {list(value.shape)}")
        length = value.detach().norm(dim=-1, keepdim=True)
        if not bool((length > 0).all()):
            raise ShapeError("direction: a direction must not be the zero vector; give it any length above 0")
        return value.detach() / length
