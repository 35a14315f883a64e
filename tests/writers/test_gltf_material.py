from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.glb_parsing import Glb, parse_glb
from support.material_kinds import exported_objects, phong_object, smooth

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.scene.materials import Ggx
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import RADIANCE, kinds_of
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.pbr import pack_metallic_roughness
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.images.textures import write_texture

OBJECTS = exported_objects()


def written(tmp_path: Path, item: Object) -> Glb:
    write_glb(tmp_path / "a.glb", [GlbObject.of("thing", item)])
    return parse_glb(tmp_path / "a.glb")


def picture(glb: Glb, texture_index: int) -> np.ndarray:
    image = glb.document["images"][glb.document["textures"][texture_index]["source"]]
    view = glb.document["bufferViews"][image["bufferView"]]
    return np.asarray(Image.open(io.BytesIO(glb.binary[view["byteOffset"] :][: view["byteLength"]])))


def test_roughness_is_green_and_metallic_blue(tmp_path: Path) -> None:
    metallic, roughness = Texture(smooth(1, seed=5)), Texture(smooth(1, seed=6))
    item = replace(OBJECTS["ggx_texture"], material=Ggx(torch.ones(3), metallic, roughness))
    glb = written(tmp_path, item)
    surface = glb.material("thing")["pbrMetallicRoughness"]
    assert (surface["metallicFactor"], surface["roughnessFactor"]) == (1, 1)
    pixels = picture(glb, surface["metallicRoughnessTexture"]["index"])
    for channel, texture in ((1, roughness), (2, metallic)):
        assert np.abs(pixels[..., channel] / 255 - texture.texels[..., 0].numpy()).max() <= 0.5 / 255 + 1e-6

    half = pack_metallic_roughness(torch.tensor([0.4]), roughness)
    assert half.texture is not None and (half.metallic_factor, half.roughness_factor) == (pytest.approx(0.4), 1.0)
    assert torch.equal(half.texture.texels[..., 1:2], roughness.texels) and (half.texture.texels[..., 2] == 1).all()


def test_a_normal_map_brings_its_tangents(tmp_path: Path) -> None:
    item = OBJECTS["ggx_texture"]
    glb = written(tmp_path, item)
    assert glb.material("thing")["normalTexture"] == {"index": 2}
    pixels = picture(glb, 2).astype(float) / 255 * 2 - 1
    assert np.abs(np.linalg.norm(pixels, axis=2) - 1).max() < 0.01
    names = ("POSITION", "NORMAL", "TANGENT", "TEXCOORD_0")
    positions, normals, tangents, uvs = (glb.attribute("thing", name).astype(float) for name in names)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-5)
    assert np.abs((tangents[:, :3] * normals).sum(1)).max() < 1e-5
    assert set(tangents[:, 3]) <= {-1.0, 1.0}
    # On each face: where a corner moves by its tangent, u grows; by its bitangent, v falls (up in the image).
    faces = glb.array(glb.primitive("thing")["indices"]).reshape(-1, 3)
    sides = positions[faces[:, 1:]] - positions[faces[:, :1]]
    uv_sides = uvs[faces[:, 1:]] - uvs[faces[:, :1]]
    for corner in range(3):
        at = faces[:, corner]
        bitangent = np.cross(normals[at], tangents[at, :3]) * tangents[at, 3:]
        for direction, sign, axis in ((tangents[at, :3], 1, 0), (bitangent, -1, 1)):
            shares = np.stack([np.linalg.lstsq(s.T, d, rcond=None)[0] for s, d in zip(sides, direction, strict=True)])
            grown = (shares[:, :, None] * uv_sides).sum(1)[:, axis] * sign
            assert (grown > 0).mean() > 0.99
    assert "TANGENT" not in written(tmp_path, OBJECTS["lambert_texture"]).primitive("thing")["attributes"]


def test_a_mirrored_texture_turns_the_sign_of_its_bitangents(tmp_path: Path) -> None:
    item = OBJECTS["ggx_texture"]
    assert item.mesh.uvs is not None
    mirrored = replace(item.mesh, uvs=item.mesh.uvs * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0]))
    signs = [
        written(tmp_path, replace(item, mesh=mesh)).attribute("thing", "TANGENT")[:, 3]
        for mesh in (item.mesh, mirrored)
    ]
    assert np.bincount((signs[0] > 0).astype(int)).tolist() == np.bincount((signs[1] < 0).astype(int)).tolist()
    assert not np.array_equal(signs[0], signs[1])


def test_emission_above_one_goes_into_its_strength(tmp_path: Path) -> None:
    material = Ggx(emissive=torch.tensor([0.5, 4.0, 1.0]))
    glb = written(tmp_path, Object(Mesh(*icosphere(1)), material))
    entry = glb.material("thing")
    assert entry["extensions"]["KHR_materials_emissive_strength"] == {"emissiveStrength": 4.0}
    assert entry["emissiveFactor"] == [0.125, 1.0, 0.25]
    assert "KHR_materials_emissive_strength" in glb.document["extensionsUsed"]
    dim = written(tmp_path, Object(Mesh(*icosphere(1)), Ggx(emissive=torch.tensor([0.5, 0.25, 1.0])))).material("thing")
    assert dim["emissiveFactor"] == [0.5, 0.25, 1.0] and "extensions" not in dim


def test_what_stands_at_vertices_is_baked_but_for_colours(tmp_path: Path) -> None:
    item = OBJECTS["ggx_vertex"]
    assert (
        item.mesh.uvs is None and isinstance(item.material, Ggx) and isinstance(item.material.roughness, torch.Tensor)
    )
    glb = written(tmp_path, item)
    assert {"COLOR_0", "TEXCOORD_0"} <= set(glb.primitive("thing")["attributes"])
    pixels = picture(glb, glb.material("thing")["pbrMetallicRoughness"]["metallicRoughnessTexture"]["index"])
    # At each corner the picture shows the vertex's number.
    uvs, positions = glb.attribute("thing", "TEXCOORD_0"), glb.attribute("thing", "POSITION")
    height, width = pixels.shape[:2]
    rows, columns = (uvs[:, 1] * height).astype(int), (uvs[:, 0] * width).astype(int)
    found = pixels[rows.clip(0, height - 1), columns.clip(0, width - 1), 1] / 255
    place = {
        tuple(p): r for p, r in zip(item.mesh.vertices.tolist(), item.material.roughness[:, 0].tolist(), strict=True)
    }
    expected = np.array([place[tuple(p)] for p in positions.tolist()])
    assert np.abs(found - expected).max() < 0.05


def test_diffuse_materials_have_no_reflection_and_phong_the_width_of_its_highlight(tmp_path: Path) -> None:
    assert written(tmp_path, OBJECTS["lambert"]).material("thing")["extensions"] == {
        "KHR_materials_specular": {"specularFactor": 0.0}
    }
    surface = written(tmp_path, phong_object()).material("thing")["pbrMetallicRoughness"]
    assert surface["roughnessFactor"] == pytest.approx((2 / 34) ** 0.25) and surface["metallicFactor"] == 0
    textured = replace(phong_object().material, shininess=Texture(torch.full((2, 2, 1), 32.0)))
    roughness = textured.to_gltf().roughness
    assert isinstance(roughness, Texture) and roughness.texels[0, 0, 0] == pytest.approx((2 / 34) ** 0.25)
    with pytest.raises(ShapeError, match="has a texture, but its mesh has no uvs"):
        written(tmp_path, Object(Mesh(*icosphere(1)), Ggx(roughness=Texture(smooth(1)))))


@pytest.mark.parametrize(("field", "channels"), [("base_color", 3), ("roughness", 1), ("normal", 3), ("emissive", 3)])
def test_textures_are_files_as_programs_want_them(tmp_path: Path, field: str, channels: int) -> None:
    texture = Texture(smooth(channels, high=0.9))
    write_texture(tmp_path / "a.png", kinds_of(Ggx)[field], texture)
    pixels = np.asarray(Image.open(tmp_path / "a.png")).astype(float) / 255
    assert pixels.shape == (32, 32, 3)
    linear = texture.texels.numpy().astype(float)
    if field == "roughness":
        expected = np.repeat(linear, 3, 2)
    elif field == "normal":
        expected = linear / np.linalg.norm(linear, axis=2, keepdims=True) / 2 + 0.5
    else:
        expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(pixels - expected).max() < 0.6 / 255
    assert not (tmp_path / "a.exr").exists()


def test_emission_that_a_png_cannot_hold_is_also_written_as_it_is(tmp_path: Path) -> None:
    from diffrender.readers.images.image import read_image

    texture = Texture(smooth(3, high=5.0))
    write_texture(tmp_path / "a.png", RADIANCE, texture)
    torch.testing.assert_close(read_image(tmp_path / "a.exr").rgb, texture.texels)
