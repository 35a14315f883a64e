"""The table of lights, by the `type` that a scene file gives: `lights: [{type: ambient}]`; and those that glTF has."""

from diffrender.scene.light import Light, PunctualLight
from diffrender.scene.lights.ambient import Ambient
from diffrender.scene.lights.directional import Directional
from diffrender.scene.lights.environment import Environment
from diffrender.scene.lights.per_view_directional import PerViewDirectional
from diffrender.scene.lights.point import Point
from diffrender.scene.lights.spherical_harmonics import SphericalHarmonics
from diffrender.scene.lights.spot import Spot

LIGHTS: dict[str, type[Light]] = {
    "ambient": Ambient,
    "directional": Directional,
    "point": Point,
    "spot": Spot,
    "spherical_harmonics": SphericalHarmonics,
    "environment": Environment,
    "flashes": PerViewDirectional,
}

# By their types in KHR_lights_punctual.
GLTF_LIGHTS: dict[str, type[PunctualLight]] = {"directional": Directional, "point": Point, "spot": Spot}
