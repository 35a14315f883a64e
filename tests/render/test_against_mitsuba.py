"""Materials and lights compared with an independent renderer, on a convex object: no shadows, no interreflection."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.mitsuba_scene import mitsuba_image
from support.pictures import assert_images_agree
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.environment.sphere_directions import map_directions
from diffrender.scene.light import Light
from diffrender.scene.lights.directional import Directional
from diffrender.scene.lights.environment import Environment
from diffrender.scene.lights.monte_carlo import with_monte_carlo
from diffrender.scene.lights.point import Point
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

SIZE, SAMPLES = 64, 64
# An image lit by an environment also has the noise of its light samples.
SKY_SAMPLES = 500
# Of our own Monte Carlo reference, at each of 64 points per pixel.
DIRECTIONS = 24
COLOR = (0.8, 0.4, 0.2)

MATERIALS: dict[str, Material] = {
    "lambert": Lambert(torch.tensor(COLOR)),
    **{
        f"metallic {metallic}, roughness {roughness}": Ggx(
            torch.tensor(COLOR), torch.tensor([metallic]), torch.tensor([roughness])
        )
        for metallic, roughness in ((0.0, 0.25), (0.0, 0.5), (0.5, 0.5), (1.0, 0.25), (1.0, 0.5), (1.0, 1.0))
    },
    "black, roughness 0.8": Ggx(torch.zeros(3), torch.zeros(1), torch.tensor([0.8])),
}


def sky(rotation: tuple[float, float, float]) -> Environment:
    """Return an environment map: a bluish gradient with three sources of different colours and widths."""
    directions, _ = map_directions(32, 64, torch.zeros(()))
    radiance = 0.4 + 0.3 * directions[:, 1:2].clamp_min(0) * torch.tensor([0.5, 0.8, 1.5])
    sources = (((1, 0.5, 0.3), (4, 3, 2), 20), ((-0.3, 0.2, 1), (1, 2, 4), 40), ((0, -1, 0.3), (1, 0.2, 0.1), 5))
    for middle, color, sharpness in sources:
        along = directions @ torch.nn.functional.normalize(torch.tensor(middle, dtype=torch.float32), dim=0)
        radiance = radiance + torch.exp(sharpness * (along - 1))[:, None] * torch.tensor(color)
    return Environment(EnvMap(radiance.reshape(32, 64, 3)), torch.tensor(rotation))


LIGHTS: dict[str, Light] = {
    "directional": Directional(torch.tensor([-1.0, -1.0, -0.5]), torch.tensor([2.5, 2.0, 1.5])),
    "point": Point(torch.tensor([1.5, 1.0, 2.0]), torch.tensor([8.0, 9.0, 10.0])),
    "environment": sky((0.5, -1.2, 0.4)),
}
LAMPS = ("directional", "point")
# The base of Mitsuba's dielectrics reflects a few percent more light than it receives, and its metals use another
# masking term, which is visible at roughness 1: in an environment the images differ by as much as the formulas.
UNDER_THE_SKY = ("lambert", "metallic 1.0, roughness 0.25", "black, roughness 0.8")
# The others are slow: Mitsuba renders each anew.
QUICK = [("lambert", "directional"), ("metallic 0.5, roughness 0.5", "point")]
CASES = [(material, light) for material in MATERIALS for light in LAMPS]
CASES += [(material, "environment") for material in UNDER_THE_SKY]


def shown(image: Tensor) -> Tensor:
    """Map linear radiance to display values: highlights of 40 would otherwise dominate the comparison."""
    return image.clamp(0, 1)


@pytest.mark.parametrize(
    ("material", "light"), [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_direct_light_agrees(material: str, light: str) -> None:
    ball = icosphere(4)
    mesh = Mesh(ball.vertices * torch.tensor([0.8, 1.0, 0.7]), ball.faces)
    scene = Scene({"ball": Object(mesh, MATERIALS[material])}, {"light": LIGHTS[light]})
    camera = Cameras.perspective(torch.tensor([[1.0, 0.8, 2.5]]), fov_deg=45, height=SIZE, width=SIZE)
    theirs = mitsuba_image(scene, camera, SKY_SAMPLES if light not in LAMPS else SAMPLES)
    shaded = replace(scene, lights={name: with_monte_carlo(light, DIRECTIONS) for name, light in scene.lights.items()})
    ours = render_supersampled(shaded, camera, 8)[0, ..., :3]
    assert_images_agree(shown(ours), shown(theirs), psnr_at_least=38)
