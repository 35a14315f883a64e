"""Objects with every kind of material that can be exported, small enough for tests that write files."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import Ambient, Directional, Environment, Point, Spot
from diffrender.scene.materials import Ggx, Lambert, Phong, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texture import Texture

TEXELS = 32


def smooth(channels: int, size: int = TEXELS, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    """Return a smooth random image [size, size, channels] in low..high."""
    coarse = torch.rand(1, channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)
    return low + (high - low) * fine[0].permute(1, 2, 0)


def exported_objects() -> dict[str, Object]:
    """Return one object per kind of material and of its values, keyed by the name of the kind."""
    ball = Mesh(*icosphere(2))
    uv_ball = unwrap_mesh(ball, TEXELS)
    heights = ball.vertices / 2 + 0.5
    bumps = torch.cat([smooth(2, low=-0.4, high=0.4), torch.ones(TEXELS, TEXELS, 1)], 2)
    materials = {
        "lambert": (ball, Lambert(torch.tensor([0.2, 0.5, 0.7]))),
        "lambert_vertex": (ball, Lambert(heights)),
        "lambert_texture": (uv_ball, Lambert(Texture(smooth(3), wrap="clamp"))),
        "lambert_normal_texture": (uv_ball, Lambert(torch.tensor([0.6, 0.5, 0.4]), Texture(bumps))),
        "unlit": (ball, Unlit(heights)),
        "ggx": (ball, Ggx(torch.tensor([0.8, 0.5, 0.2]), torch.tensor([0.9]), torch.tensor([0.3]))),
        "ggx_texture": (
            uv_ball,
            Ggx(
                Texture(smooth(3, seed=1)),
                Texture(smooth(1, seed=2)),
                Texture(smooth(1, TEXELS // 2, 0.2, 0.9, seed=3)),
                Texture(bumps),
                Texture(smooth(3, high=2.0, seed=4)),
            ),
        ),
        "ggx_vertex": (ball, Ggx(heights, heights[:, :1], heights[:, 1:2] * 0.6 + 0.3, None, heights * 0.2)),
    }
    return {name: Object(mesh, material) for name, (mesh, material) in materials.items()}


def phong_object() -> Object:
    """Return an object whose material has no counterpart in glTF."""
    return Object(Mesh(*icosphere(2)), Phong(torch.tensor([0.5, 0.3, 0.2])))


def lit_scene(item: Object) -> Scene:
    """Return `item` under lights of every kind, in glTF or not, dim enough that little is clamped."""
    lights = {
        "key": Directional(
            torch.tensor([-1.0, -1.0, -0.7]), torch.tensor([1.0, 0.9, 0.7]), shadow=Shadow(softness=0.05, resolution=32)
        ),
        "torch": Spot(torch.tensor([0.0, 1.0, 2.5]), torch.tensor([0.0, -0.3, -1.0]), torch.tensor([2.0, 2.0, 3.0])),
        "bulb": Point(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.3, 0.6, 0.3])),
        "haze": Ambient(torch.full((3,), 0.1)),
        "sky": Environment(EnvMap(smooth(3, 32, high=0.3)[:16])),
    }
    return Scene({"thing": item}, lights, torch.full((3,), 0.1))


def cameras(size: int = 48) -> Cameras:
    """Return three cameras, one of which looks from above."""
    eyes = torch.tensor([[0.0, 0.5, 3.0], [3.0, 0.5, 0.0], [0.0, 2.5, -1.5]])
    return Cameras.perspective(eyes, fov_deg=50, height=size, width=size + 8)
