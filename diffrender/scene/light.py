"""What a light is: a list of directions and the radiance that arrives from each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from diffrender.scene.surface import Surface


class LightSamples(NamedTuple):
    """S samples of one light at M points.

    to_light_w: [M or 1, S, 3] unit directions from the surface to the light.
    radiance: [M or 1, S, 3] radiance times the solid angle that the sample stands for (linear RGB).
    """

    to_light_w: Tensor
    radiance: Tensor


class Light(ABC):
    """Base of all lights: a frozen dataclass whose fields are its options in scene.yaml.

    A field's metadata {"parametrization": name} says which latent keeps it in its domain when it is optimised.
    """

    @abstractmethod
    def sample(self, surface: Surface) -> LightSamples:
        """The light that arrives at each point of `surface`."""
