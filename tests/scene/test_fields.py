"""Walking the fields of scenes reaches every tensor and shares what does not change."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.fields import fields_of, map_tensors, textures_of, with_fields
from diffrender.scene.lights import LIGHTS, Ambient, Environment
from diffrender.scene.materials import MATERIALS, Ggx
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture


def scene() -> Scene:
    ball = icosphere(1)
    material = Ggx(base_color=Texture(torch.rand(8, 8, 3), "clamp"), roughness=torch.full((1,), 0.5))
    lights = {"sky": Environment(EnvMap(torch.rand(16, 32, 3)), torch.zeros(3)), "all": Ambient(torch.ones(3))}
    return Scene({"ball": Object(Mesh(ball.vertices, ball.faces), material)}, lights)


def test_every_tensor_is_changed_and_nothing_else() -> None:
    before = scene()
    after = map_tensors(before, lambda value: value.double() if value.is_floating_point() else value)
    item, was = after.objects["ball"], before.objects["ball"]
    assert isinstance(item.material, Ggx) and isinstance(item.material.base_color, Texture)
    assert item.material.base_color.texels.dtype == item.mesh.vertices.dtype == item.pose.dtype == torch.float64
    assert item.material.base_color.wrap == "clamp" and item.mesh.faces is was.mesh.faces
    sky = after.lights["sky"]
    assert isinstance(sky, Environment) and sky.radiance.texels.dtype == sky.rotation.dtype == torch.float64
    assert after.background.dtype == torch.float64 and list(after.lights) == ["sky", "all"]


def test_what_does_not_change_is_shared() -> None:
    start = scene()
    assert start.to("cpu") is start
    moved = map_tensors(start, lambda value: value + 1 if value.shape == (16, 32, 3) else value)
    assert moved.objects["ball"] is start.objects["ball"] and moved.lights["sky"] is not start.lights["sky"]


def test_a_scene_goes_to_another_device_whole() -> None:
    seen: list[Tensor] = []
    map_tensors(scene(), lambda value: seen.append(value) or value)
    assert {(8, 8, 3), (16, 32, 3), (4, 4), (42, 3), (80, 3)} <= {tuple(value.shape) for value in seen}


def test_fields_of_every_material_and_light_are_found() -> None:
    for kind in (*MATERIALS.values(), *LIGHTS.values()):
        assert dataclasses.is_dataclass(kind)
    material = scene().objects["ball"].material
    assert list(textures_of(material)) == ["base_color"]
    rough = torch.ones(1)
    assert fields_of(with_fields(material, {"roughness": rough}))["roughness"] is rough
