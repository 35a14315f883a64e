from __future__ import annotations

import dataclasses

import pytest
import torch
from support.pictures import assert_images_agree
from support.shapes import camera_at, oblique_cameras, placed, scene_of, square

from diffrender.render.render import render
from diffrender.scene.lights import Directional
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.textures.interleave import PackedTexture, pack_textures
from diffrender.scene.textures.texture import Texture

F64 = torch.float64


def texels(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (0.2 + 0.6 * torch.rand(*shape, generator=generator, dtype=F64)).requires_grad_()


def on_a_square(n=60):
    mesh = square(F64)
    generator = torch.Generator().manual_seed(1)
    face_id = torch.randint(2, (n,), generator=generator)
    bary = torch.rand(n, 3, generator=generator, dtype=F64) + 0.01
    view = torch.zeros_like(face_id)
    bary = bary / bary.sum(1, keepdim=True)
    return ShadingPoints(mesh, mesh.vertices, face_id, bary, view, camera_at((0.3, 0.4, 2.0), dtype=F64))


@pytest.mark.parametrize("same_size", [True, False])
def test_packed_textures_look_the_same_with_the_same_gradients(same_size):
    color, metallic = texels(16, 16, 3), texels(16, 16, 1, seed=1)
    roughness = texels(16, 16, 1, seed=2) if same_size else texels(8, 4, 1, seed=2)
    plain = Ggx(Texture(color), Texture(metallic), Texture(roughness, "clamp" if same_size else "repeat"))
    results = []
    for material in (plain, pack_textures(plain, None)):
        surface = on_a_square()
        shown = [surface.value(getattr(material, name)) for name in ("base_color", "metallic", "roughness")]
        total = sum(
            (value * (i + 1) * torch.linspace(-1, 2, len(value))[:, None]).sum() for i, value in enumerate(shown)
        )
        results.append((*shown, *torch.autograd.grad(total, (color, metallic, roughness))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_textures_of_one_size_share_a_pack_and_others_have_their_own():
    material = Ggx(Texture(texels(8, 8, 3)), Texture(texels(8, 8, 1)), Texture(texels(4, 4, 1)))
    found = pack_textures(material, None)
    packs = [getattr(found, name).pack for name in ("base_color", "metallic", "roughness")]
    assert packs[0] is packs[1] and packs[0].sizes == (3, 1) and packs[2].sizes == (1,)
    assert all(isinstance(getattr(found, name), PackedTexture) for name in ("base_color", "metallic", "roughness"))
    uniform = Lambert()
    assert pack_textures(uniform, None) is uniform


def test_an_image_looks_up_what_the_textures_themselves_hold():
    """render() packs textures; with uniform values, a material of one texture and one of three give the same image."""
    color = texels(8, 8, 3).detach().float()
    lights = {"sun": Directional(torch.tensor([-0.2, -0.3, -1.0]), torch.full((3,), 3.0))}
    whole = Ggx(Texture(color), Texture(torch.full((8, 8, 1), 0.2)), Texture(torch.full((8, 8, 1), 0.4)))
    plain = Ggx(Texture(color), torch.full((1,), 0.2), torch.full((1,), 0.4))
    images = [render(scene_of(placed(square(), m), lights=lights), oblique_cameras(1, 32)).rgba for m in (whole, plain)]
    assert_images_agree(*images, error_at_most=1e-5)
    assert dataclasses.asdict(whole)["base_color"]["wrap"] == "repeat"
