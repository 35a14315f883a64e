"""Light: the interface of all lights, a list of directions and the radiance that arrives from each.

The list of a `PunctualLight` is short, usually one sample, and `shade` evaluates the material for each. An
`EnvironmentLight` shines from all directions; its list is long and serves as the reference, while `shade` uses
prefiltered radiance: the means over the hemisphere and over the lobes that the material's `ReflectionLobes` name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from diffrender.scene.cameras import Cameras
from diffrender.scene.material import Material
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow


class LightSamples(NamedTuple):
    """S samples of one light at M points.

    to_light_w: [M or 1, S, 3] unit directions from the surface to the light.
    radiance: [M or 1, S, 3] linear RGB: radiance times the solid angle of the sample.
    """

    to_light_w: Tensor
    radiance: Tensor


class Light(ABC):
    """Base of all lights.

    A light is a frozen dataclass; its learnable fields are each a `quantity_kinds.quantity`, others are plain values. A
    new one implements the three methods below; as a `PunctualLight` only `sample` and `shadow_cameras`, as an
    `EnvironmentLight` all but `shade`, and its two prefiltered radiances. It is listed in `scene.lights.LIGHTS`, and
    config/options has its options.
    """

    @abstractmethod
    def prepared(self) -> Light:
        """Return the light with everything precomputed that surfaces share; `render` calls it once per image."""

    @abstractmethod
    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return the light that arrives at each of the M points of `surface`."""

    @abstractmethod
    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return the [M or 1, 3] linear radiance that `material` reflects of this light towards each point's camera."""


def shade_samples(samples: LightSamples, surface: ShadingPoints, material: Material) -> Tensor:
    """Return the [M, 3] radiance that `material` reflects of `samples`: the sum of bsdf x cosine x radiance."""
    reflected = material.evaluate(surface, samples.to_light_w) * samples.radiance
    return reflected[:, 0] if reflected.shape[1] == 1 else reflected.sum(1)


class PunctualLight(Light):
    """Base of lights that shine from few directions and may cast shadows.

    shadow: how it casts shadows, or None.
    frame: "world" or "camera": what the light is fixed to (scene.light_frames).

    One that glTF has (`scene.lights.GLTF_LIGHTS`) is written and read by the kinds of its fields: radiance, position
    and direction; others are its `gltf_entries`.
    """

    shadow: Shadow | None
    frame: str

    @abstractmethod
    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """Return the cameras of its shadow maps for a scene within `bounds`: one or more, all at one position.

        If the light is fixed to the camera: that many for each of `cameras`, one camera after the other.
        """

    def prepared(self) -> PunctualLight:
        """Return the light itself: there is nothing to precompute."""
        return self

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return the sum over its samples of bsdf x cosine x radiance."""
        return shade_samples(self.sample(surface), surface, material)

    def gltf_entries(self) -> dict[str, Any]:
        """Return what its entry in KHR_lights_punctual has besides type, colour and intensity."""
        return {}

    @classmethod
    def fields_of_gltf(cls, entry: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the fields that `gltf_entries` wrote."""
        return {}


class EnvironmentLight(Light):
    """Base of lights that shine from all directions; they cast no shadows."""

    @abstractmethod
    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """Return the [M or 1, 3] cosine-weighted mean radiance of the hemispheres around unit `normal_w` [M, 3].

        It is irradiance / pi.
        """

    @abstractmethod
    def lobe_radiance(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """Return the [M or 1, L or 1, 3] mean radiances over the lobes around unit `direction_w` [M, L, 3].

        roughness: [M or 1, L] widths of the lobes, as in `SpecularLobes`.
        """

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return the sum over the material's lobes of mean radiance times reflectance."""
        lobes = material.lobes(surface)
        total = lobes.diffuse * self.mean_radiance(surface, lobes.normal_w)
        if lobes.glossy is None:
            return total
        direction_w, roughness, weight = lobes.glossy
        return total + (weight * self.lobe_radiance(surface, direction_w, roughness)).sum(1)
