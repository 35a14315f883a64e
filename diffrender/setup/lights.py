"""Build lights from their options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffrender.config.options.lights import (
    AnyLight,
    EnvironmentOptions,
    FlashesOptions,
    RotationOptions,
    ShadowOptions,
    SphericalHarmonicsOptions,
)
from diffrender.config.scene_dependent_defaults import MAP_HEIGHT
from diffrender.readers.captures.photometric_stereo import read_light_directions
from diffrender.readers.images.image import read_image
from diffrender.scene import light as scene_light
from diffrender.scene.environment.env_map import HEIGHT_UNIT, EnvMap
from diffrender.scene.environment.prefilter import downsample
from diffrender.scene.lights import LIGHTS
from diffrender.scene.lights.environment import Environment
from diffrender.scene.lights.per_view_directional import PerViewDirectional
from diffrender.scene.lights.spherical_harmonics import SphericalHarmonics, uniform_sky
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.shadow_cameras import Shadow


def build_light(options: AnyLight) -> scene_light.Light:
    """Build the light that `options` describe. Raises DataError if an image file cannot be used."""
    if isinstance(options, EnvironmentOptions):
        return Environment(_build_map(options), rotation_vector(options.rotation), options.frame)
    if isinstance(options, SphericalHarmonicsOptions):
        return SphericalHarmonics(_build_coefficients(options), options.frame)
    if isinstance(options, FlashesOptions):
        return _build_flashes(options)
    light_class = LIGHTS[options.type]
    kinds = kinds_of(light_class)
    values: dict[str, Any] = {}
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, ShadowOptions):
            value = Shadow(value.softness, value.resolution)
        if name not in ("type", "name") and value is not None:
            values[name] = torch.tensor(value) if name in kinds else value
    return light_class(**values)


def name_lights(lights: Sequence[AnyLight]) -> dict[str, AnyLight]:
    """Return the options of `lights` by name; a light without a name is called by its type."""
    return {light.name or light.type: light.model_copy(update={"name": light.name or light.type}) for light in lights}


def rotation_vector(options: RotationOptions | None) -> Tensor:
    """Return the rotation vector [3]: unit axis times angle in radians."""
    if options is None:
        return torch.zeros(3)
    return torch.nn.functional.normalize(torch.tensor(options.axis), dim=0) * math.radians(options.degrees)


def _build_flashes(options: FlashesOptions) -> PerViewDirectional:
    if isinstance(options.direction, str):
        direction = read_light_directions(Path(options.direction))
    else:
        direction = torch.tensor(options.direction)
    radiance = torch.tensor(options.radiance).expand(len(direction), 3).contiguous()
    return PerViewDirectional(direction, radiance, options.frame)


def _build_map(options: EnvironmentOptions) -> EnvMap:
    if not isinstance(options.radiance, str):
        height = options.resolution or MAP_HEIGHT
        return EnvMap(torch.tensor(options.radiance).repeat(height, 2 * height, 1))
    image = read_image(options.radiance).rgb
    own = max(1, len(image) // HEIGHT_UNIT) * HEIGHT_UNIT
    height = options.resolution or own
    if height > len(image) or image.shape[1] != 2 * len(image):
        # An image that is too small or not 2:1 is resampled by nearest texels, which downsample() then averages.
        rows, columns = (
            (torch.arange(fine) * coarse // fine)
            for fine, coarse in ((4 * height, len(image)), (8 * height, image.shape[1]))
        )
        image = image[rows][:, columns]
    return EnvMap(downsample(image, height))


def _build_coefficients(options: SphericalHarmonicsOptions) -> Tensor:
    if options.coefficients is not None:
        return torch.tensor(options.coefficients)
    sky = uniform_sky()
    return sky if options.order == 2 else torch.cat([sky, torch.zeros(7, 3)])
