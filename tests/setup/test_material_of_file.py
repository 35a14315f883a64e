"""A scene that names no material has that of its mesh file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffrender.config.load import load_config
from diffrender.geometry.primitives import icosphere
from diffrender.imaging.metrics import psnr_db
from diffrender.render.render import render
from diffrender.scene.material import Material
from diffrender.scene.materials import Ggx, Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import build_fit
from diffrender.writers.gltf.scene import GlbObject, write_glb

SCENE = """
targets: {resolution: 64, synthetic: {mesh: {init: box}, views: 3, lights: [ambient]}}
mesh: ball.glb
lights: [ambient, {type: directional, direction: [1, -1, -0.5], radiance: 2}]
"""
BALL = unwrap_mesh(Mesh(*icosphere(3)), 64)


def random_texture(channels: int, seed: int) -> Texture:
    coarse = torch.rand(1, channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    return Texture(torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 1))


def tilted() -> Texture:
    slopes = 0.3 * (random_texture(2, 4).texels - 0.5)
    return Texture(torch.nn.functional.normalize(torch.cat([slopes, torch.ones(64, 64, 1)], 2), dim=2))


ROUGHNESS = Texture(0.3 + 0.6 * random_texture(1, 3).texels)
RED = torch.tensor([0.7, 0.2, 0.1])
MATERIALS = {
    "metal": Ggx(RED, metallic=torch.tensor([1.0]), roughness=torch.tensor([0.4])),
    "plastic": Ggx(RED, metallic=torch.tensor([0.0]), roughness=torch.tensor([0.3])),
    "white plastic": Ggx(torch.ones(3), metallic=torch.tensor([0.0]), roughness=torch.tensor([0.3])),
    "maps": Ggx(random_texture(3, 1), metallic=random_texture(1, 2), roughness=ROUGHNESS, normal=tilted()),
    "lamp": Ggx(RED, torch.tensor([0.0]), torch.tensor([0.5]), emissive=torch.tensor([0.2, 0.4, 0.1])),
    "chalk": Lambert(random_texture(3, 1)),
    "relief": Lambert(random_texture(3, 1), normal=tilted()),
    "picture": Unlit(random_texture(3, 1)),
}


@pytest.mark.parametrize("name", MATERIALS)
def test_a_file_looks_as_it_did(tmp_path: Path, name: str) -> None:
    original: Material = MATERIALS[name]
    write_glb(tmp_path / "ball.glb", [GlbObject.of("ball", Object(BALL, original))])
    (tmp_path / "scene.yaml").write_text(SCENE)
    setup = build_fit(load_config(tmp_path / "scene.yaml"))
    (item,) = setup.scene.objects.values()
    assert type(item.material) is type(original)
    expected = render(setup.scene.__class__({"a": Object(BALL, original)}, setup.scene.lights), setup.model.cameras())
    found = psnr_db(render(setup.scene, setup.model.cameras()).image, expected.image)
    assert float(found.min()) > 38, found


def test_a_material_that_states_nothing_is_diffuse(tmp_path: Path) -> None:
    bare = Ggx(RED, metallic=torch.tensor([1.0]), roughness=torch.tensor([1.0]))
    write_glb(tmp_path / "ball.glb", [GlbObject.of("ball", Object(BALL, bare))])
    (tmp_path / "scene.yaml").write_text(SCENE)
    assert isinstance(build_fit(load_config(tmp_path / "scene.yaml")).scene.objects["object"].material, Lambert)
    (tmp_path / "scene.yaml").write_text(SCENE + "material: {type: ggx, metallic: 1, roughness: 1}\n")
    assert isinstance(build_fit(load_config(tmp_path / "scene.yaml")).scene.objects["object"].material, Ggx)
