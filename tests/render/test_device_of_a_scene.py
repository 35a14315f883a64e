"""Every tensor is made on the device of the scene: rendering works whatever PyTorch's default device is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.material_kinds import cameras, exported_objects, lit_scene, phong_object, smooth
from support.shapes import front_camera, placed, scene_of, square, two_crossing
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.render.aovs import AOVS
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import render
from diffrender.scene.lights import LIGHTS, Ambient, PerViewDirectional, SphericalHarmonics
from diffrender.scene.materials import MATERIALS
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.scene import Scene


def everything() -> Scene:
    """Return objects of all materials, which hide and cross one another, under lights of all kinds."""
    objects = {**exported_objects(), "phong": phong_object(), "crossing": placed(two_crossing())}
    lights = {
        **lit_scene(phong_object()).lights,
        "harmonics": SphericalHarmonics(0.1 * smooth(3)[:4, :4].reshape(16, 3)),
        "flash": PerViewDirectional(torch.tensor([[0.1, 0.2, -1.0]]), 0.2 * torch.ones(1, 3), frame="camera"),
    }
    assert {type(item.material) for item in objects.values()} == set(MATERIALS.values())
    assert {type(light) for light in lights.values()} == set(LIGHTS.values())
    return Scene(objects, lights, torch.full((3,), 0.1))


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("edges", EDGE_MODELS)
def test_no_tensor_is_made_on_the_default_device(edges: str, backend: str) -> None:
    leaves: list[Tensor] = []

    def learn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        leaves.append(tensor.clone().requires_grad_())
        return leaves[-1]

    scene, seen = map_tensors(everything(), learn), map_tensors(cameras(24), learn)
    with torch.device("meta"):
        image = render(scene, seen, EDGE_MODELS[edges](), aovs=tuple(AOVS), backend=backend).image
        gradients = torch.autograd.grad(image.square().sum(), leaves, allow_unused=True)
    assert image.device.type == "cpu"
    assert all(gradient is None or gradient.device.type == "cpu" for gradient in gradients)
    assert sum(gradient is not None for gradient in gradients) > 0.7 * len(leaves)


def test_tensors_on_several_devices_are_named() -> None:
    scene, seen = scene_of(placed(square()), lights={"sky": Ambient()}), front_camera(8)
    elsewhere = replace(scene, lights={"sky": Ambient(torch.ones(3, device="meta"))})
    message = r"^render: scene.lights.sky.radiance is on meta, but .* are on cpu; use scene.to\('cpu'\)$"
    with pytest.raises(ShapeError, match=message):
        render(elsewhere, seen)
    numbered = replace(seen, number=torch.zeros(1, dtype=torch.int64, device="meta"))
    with pytest.raises(ShapeError, match=r"^render: cameras.number is on meta, .*; use cameras.to\('cpu'\)$"):
        render(scene, numbered)
