"""What a parametrisation is: a map from free numbers to values that cannot leave their domain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from diffrender.scene.mesh import Mesh


class Parametrization(ABC):
    """Base of all parametrisations: a frozen dataclass without state.

    The optimiser moves the latent anywhere; `value_of` brings every latent into the domain, so that no step needs a
    clamp after it. `value_of(latent_of(value))` is `value` again, up to rounding.

    optimizer: the name in diffrender.fit.optimizer.adam.ADAM_VARIANTS of what moves the latent best.
    """

    optimizer: ClassVar[str] = "adam"

    def bind(self, mesh: Mesh) -> Parametrization:
        """The same for the vertices of `mesh`; itself where the mesh does not matter."""
        return self

    @abstractmethod
    def value_of(self, latent: Tensor) -> Tensor:
        """The value that `latent` stands for; differentiable."""

    @abstractmethod
    def latent_of(self, value: Tensor) -> Tensor:
        """A latent that stands for `value`, a new tensor. Raises ShapeError for a value outside the domain."""
