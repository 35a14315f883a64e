"""What a light is: a list of directions and the radiance that arrives from each.

A `PunctualLight` is a short list, one entry as a rule: each is shaded by itself. A `EnvironmentLight` shines from
everywhere; its list is long and serves as the truth, while `shade` goes the short way, by the means over
hemispheres and lobes that the sky offers and the material's `ReflectionLobes` ask for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from diffrender.scene.cameras import Cameras
from diffrender.scene.material import Material
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow


class LightSamples(NamedTuple):
    """S samples of one light at M points.

    to_light_w: [M or 1, S, 3] unit directions from the surface to the light.
    radiance: [M or 1, S, 3] radiance times the solid angle that the sample stands for (linear RGB).
    """

    to_light_w: Tensor
    radiance: Tensor


class Light(ABC):
    """Base of all lights: a frozen dataclass whose fields are its options; what can be learned is a `quantity`."""

    @abstractmethod
    def prepared(self) -> Light:
        """The same light, with all worked out that does not depend on surfaces: `render` asks once for an image."""

    @abstractmethod
    def sample(self, surface: ShadingPoints) -> LightSamples:
        """The light that arrives at each point of `surface`."""

    @abstractmethod
    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """[M or 1, 3] linear radiance of this light that `material` sends from each point towards its camera."""


def shade_samples(samples: LightSamples, surface: ShadingPoints, material: Material) -> Tensor:
    """[M, 3] what `material` reflects of them: the sum of bsdf x cosine x radiance."""
    return (material.evaluate(surface, samples.to_light_w) * samples.radiance).sum(1)


class PunctualLight(Light):
    """Base of the lights that shine from few directions, and may cast shadows.

    shadow: how, or None. frame: what the light is fixed to (scene.frames).
    """

    shadow: Shadow | None
    frame: str

    @abstractmethod
    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """The cameras of its shadow maps, for a scene within `bounds`: one map or more, all in one place.

        In a camera's frame: as many for each of `cameras`, one after the other.
        """

    def prepared(self) -> PunctualLight:
        """Itself: there is nothing to work out."""
        return self

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """The sum over its samples of bsdf x cosine x radiance."""
        return shade_samples(self.sample(surface), surface, material)


class EnvironmentLight(Light):
    """Base of the lights that shine from everywhere."""

    @abstractmethod
    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """[M or 1, 3] mean radiance, weighted by the cosine, of the hemispheres around unit `normal_w` [M, 3].

        That is irradiance / pi.
        """

    @abstractmethod
    def lobe(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """[M or 1, 3] mean radiance around unit `direction_w` [M, 3], as wide as Glossy's `roughness` [M or 1, 1]."""

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """The means that the material shows, times how much of them it reflects."""
        lobes = material.lobes(surface)
        total = lobes.diffuse * self.mean_radiance(surface, lobes.normal_w)
        for direction_w, roughness, weight in lobes.glossy:
            total = total + weight * self.lobe(surface, direction_w, roughness)
        return total
