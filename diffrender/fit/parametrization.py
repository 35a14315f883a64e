"""Parametrization: a map from unconstrained latents to values that cannot leave their domain."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from diffrender.scene.mesh import Mesh

# Of a logarithm or logit: seven times as much, or as little.
CURVED = 2.0


class Parametrization(ABC):
    """Base of all parametrisations: a frozen dataclass without state.

    The latent is unconstrained: `value_of` maps every latent into the domain, so that no step needs a clamp after it.
    `value_of(latent_of(value))` equals `value` up to rounding.

    optimizer: the default optimiser of the latent, a name in diffrender.fit.optimizer.adam.ADAM_VARIANTS.
    reach: the farthest that a number of the latent can go in one step that follows the value's derivative alone: at
        most CURVED for an exponential, and any way for what is linear.
    """

    optimizer: ClassVar[str] = "adam"
    reach: ClassVar[float] = math.inf

    def bind(self, mesh: Mesh) -> Parametrization:
        """Return the parametrisation of the vertices of `mesh`: itself, unless it depends on the mesh."""
        return self

    def starting_at(self, value: Tensor) -> Parametrization:
        """Return the parametrisation of what starts at `value`: itself, unless latents are changes of that."""
        return self

    def resized(self, value: Tensor) -> Parametrization:
        """Return the parametrisation of values of the shape of `value`: itself, unless it depends on that."""
        return self

    @abstractmethod
    def value_of(self, latent: Tensor) -> Tensor:
        """Return the value of `latent`; differentiable."""

    @abstractmethod
    def latent_of(self, value: Tensor) -> Tensor:
        """Return a latent of `value`, a new tensor. Raises ShapeError for a value outside the domain."""
