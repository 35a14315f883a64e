from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.mesh_data import Finish
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.textures.texture import Texture

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8))


def square(height: float = 0.0, **material: Any) -> trimesh.Trimesh:
    visual = TextureVisuals(uv=CORNERS[:, :2], material=PBRMaterial(**material))
    return trimesh.Trimesh(CORNERS + np.array([0, 0, height]), FACES, visual=visual, process=False)


def write(path: Path, *parts: trimesh.Trimesh) -> Path:
    trimesh.Scene(list(parts)).export(path)
    return path


def values(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)


def header_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length])


def write_header(path: Path, header: dict[str, Any]) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    total = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(total + text + rest)


def test_all_maps_of_a_material_come_along(tmp_path: Path) -> None:
    base, rough, normal, emissive = (picture(seed) for seed in range(4))
    data = read_mesh(
        write(
            tmp_path / "a.glb",
            square(
                baseColorTexture=base,
                metallicRoughnessTexture=rough,
                normalTexture=normal,
                emissiveTexture=emissive,
                emissiveFactor=[1.0, 1.0, 1.0],
            ),
        )
    )
    assert data.texture is not None and set(data.maps) == {"metallic_roughness", "normal", "emissive"}
    torch.testing.assert_close(data.texture.texels, linear_from_srgb(values(base)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(data.maps["emissive"].texels, linear_from_srgb(values(emissive)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(data.maps["metallic_roughness"].texels, values(rough))
    torch.testing.assert_close(data.maps["normal"].texels, 2 * values(normal) - 1)


def test_the_base_colour_is_tinted_by_its_factor(tmp_path: Path) -> None:
    tinted = square(baseColorTexture=picture(0), baseColorFactor=[0.5, 1.0, 0.25, 1.0])
    texture = read_mesh(write(tmp_path / "a.glb", tinted)).texture
    assert texture is not None
    expected = linear_from_srgb(values(picture(0))) * torch.tensor([0.5, 1.0, 0.25])
    torch.testing.assert_close(texture.texels, expected, atol=2e-3, rtol=0)


def test_maps_are_multiplied_by_their_factors(tmp_path: Path) -> None:
    pictures = {"metallicRoughnessTexture": picture(1), "emissiveTexture": picture(2)}
    factors = {"roughnessFactor": 0.5, "metallicFactor": 0.25, "emissiveFactor": [0.5, 1.0, 0.125]}
    maps = read_mesh(write(tmp_path / "a.glb", square(**pictures, **factors))).maps
    both = values(picture(1)) * torch.tensor([1.0, 0.5, 0.25])
    torch.testing.assert_close(maps["metallic_roughness"].texels, both)
    glow = linear_from_srgb(values(picture(2))) * torch.tensor([0.5, 1.0, 0.125])
    torch.testing.assert_close(maps["emissive"].texels, glow, atol=1e-5, rtol=1e-4)
    parts = square(**pictures, **factors), square(1.0, **pictures, **(factors | {"metallicFactor": 1.0}))
    unlike = read_mesh(write(tmp_path / "b.glb", *parts)).maps["metallic_roughness"]
    torch.testing.assert_close(unlike.texels, values(picture(1)))


@pytest.mark.parametrize("written", [{}, {"emissiveFactor": [0.0, 0.0, 0.0]}])
def test_without_a_factor_nothing_glows(tmp_path: Path, written: dict[str, Any]) -> None:
    path = write(tmp_path / "a.glb", square(baseColorTexture=picture(0), emissiveTexture=picture(1)))
    header = header_of(path)
    header["materials"][0].pop("emissiveFactor", None)
    header["materials"][0] |= written
    write_header(path, header)
    assert "emissiveTexture" in header["materials"][0] and read_mesh(path).maps == {}


def test_meshes_and_scenes_have_the_same_textures(tmp_path: Path) -> None:
    names = ("baseColorTexture", "metallicRoughnessTexture", "normalTexture", "emissiveTexture")
    path = write(tmp_path / "a.glb", square(**{name: picture(seed) for seed, name in enumerate(names)}))
    header = header_of(path)
    (entry,) = header["materials"]
    entry["pbrMetallicRoughness"] |= {
        "baseColorFactor": [0.123, 0.456, 0.789, 1],
        "metallicFactor": 0.3,
        "roughnessFactor": 0.7,
    }
    entry["emissiveFactor"] = [0.5, 1.0, 0.25]
    entry["extensions"] = {"KHR_materials_emissive_strength": {"emissiveStrength": 5.13}}
    entry["normalTexture"]["scale"] = 0.375
    write_header(path, header)
    data = read_mesh(path)
    (item,) = read_gltf_scene(path).scene.objects.values()
    material = item.material
    assert isinstance(material, Ggx) and data.texture is not None
    both = data.maps["metallic_roughness"].texels
    found = {
        "base_color": data.texture.texels,
        "roughness": both[:, :, 1:2],
        "metallic": both[:, :, 2:],
        "normal": data.maps["normal"].texels,
        "emissive": data.maps["emissive"].texels,
    }
    for name, texels in found.items():
        value = getattr(material, name)
        assert isinstance(value, Texture), name
        torch.testing.assert_close(texels, value.texels, msg=name)
    bright = linear_from_srgb(values(picture(3))) * torch.tensor([0.5, 1.0, 0.25]) * 5.13
    torch.testing.assert_close(found["emissive"], bright, atol=1e-5, rtol=1e-4)
    flattened = (2 * values(picture(2)) - 1) * torch.tensor([0.375, 0.375, 1.0])
    torch.testing.assert_close(found["normal"], flattened)


def test_a_finish_is_that_of_all_parts(tmp_path: Path) -> None:
    shiny = {"baseColorTexture": picture(0), "metallicFactor": 0.75, "roughnessFactor": 0.25}
    found = read_mesh(write(tmp_path / "a.glb", square(**shiny), square(1.0, **shiny))).finish
    assert found == Finish(metallic=0.75, roughness=0.25)
    unlike = square(**shiny), square(1.0, **(shiny | {"metallicFactor": 0.5}))
    assert read_mesh(write(tmp_path / "b.glb", *unlike)).finish == Finish()
    mapped = square(**shiny, metallicRoughnessTexture=picture(1))
    assert read_mesh(write(tmp_path / "c.glb", mapped)).finish == Finish()


def test_maps_that_only_some_parts_have_are_left_out(tmp_path: Path) -> None:
    base, rough = picture(0), picture(1)
    one = square(baseColorTexture=base, metallicRoughnessTexture=rough)
    other = square(1.0, baseColorTexture=base)
    assert read_mesh(write(tmp_path / "a.glb", one, other)).maps == {}
    both = square(1.0, baseColorTexture=base, metallicRoughnessTexture=rough)
    assert set(read_mesh(write(tmp_path / "b.glb", one, both)).maps) == {"metallic_roughness"}


def test_wrapping_is_that_of_the_texture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.glb", square(baseColorTexture=picture(0)))
    plain = read_mesh(path).texture
    assert plain is not None and plain.wrap == "repeat"
    header = header_of(path)
    header["samplers"] = [{"wrapS": 33071, "wrapT": 33071}]
    for texture in header["textures"]:
        texture["sampler"] = 0
    write_header(path, header)
    clamped = read_mesh(path).texture
    assert clamped is not None and clamped.wrap == "clamp"


def test_formats_without_materials_have_no_maps(tmp_path: Path) -> None:
    trimesh.Trimesh(CORNERS, FACES, process=False).export(tmp_path / "a.ply")
    assert read_mesh(tmp_path / "a.ply").maps == {}
