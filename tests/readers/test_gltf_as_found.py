"""glTF files with unusual pictures, or with wrong numbers, which are named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.gltf_files import GltfBuilder

from diffrender.errors import DataError
from diffrender.readers.meshes.read_mesh import read_mesh

POSITIONS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.uint32)
UP = np.array([[0, 0, 1]] * 4, np.float32)


def test_gray_pictures_of_16_bits(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    found = []
    for pixels in (values, (values // 257).astype(np.uint8)):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        gltf = GltfBuilder()
        material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": gltf.texture(stream.getvalue())}}}
        gltf.node(
            gltf.primitive(POSITIONS, FACES, TEXCOORD_0=POSITIONS[:, :2], material=gltf.add("materials", material))
        )
        texture = read_mesh(gltf.write(tmp_path / "a.glb")).texture
        assert texture is not None
        found.append(texture.texels)
    assert torch.equal(*found) and 0.1 < float(found[0][0, 1, 0]) < 0.2


def plain(**document: Any) -> GltfBuilder:
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(POSITIONS, FACES), **document.pop("node", {}))
    gltf.document |= document
    return gltf


INSTANCES = {"EXT_mesh_gpu_instancing": {"attributes": {"ROTATION": 2}}}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"rotation": [0, 0, 0, 0]}, r"node 0 has the rotation \[0, 0, 0, 0\]; a quaternion must not be zero"),
        ({"extensions": INSTANCES}, r"an instance of node 0 has the rotation \[0.0, 0.0, 0.0, 0.0\]; a quaternion"),
        ({"scale": [1, float("nan"), 1]}, "node 0 has a transform that is not finite"),
        (
            {"matrix": [1, 0, 0, 5, 0, 1, 0, 6, 0, 0, 1, 7, 0, 0, 0, 1]},
            r"node 0 has a matrix whose last row is \[5.0, 6.0, 7.0, 1.0\], .* column by column, translation last",
        ),
        ({"translation": [0, 0, 1e300], "scale": [1e300] * 3}, r"vertex 0 is .* finite numbers, at most 3\.4e\+38"),
    ],
)
def test_transforms_that_are_none(tmp_path: Path, node: dict[str, Any], message: str) -> None:
    gltf = plain(node=node)
    gltf.accessor(np.zeros((2, 4), np.float32))
    with pytest.raises(DataError, match=rf"a\.glb: {message}"):
        read_mesh(gltf.write(tmp_path / "a.glb"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"scene": 5, "scenes": [{"nodes": [0]}]}, r"scenes has no entry 5, only 1 \(counted from 0\)"),
        ({"scene": -1, "scenes": [{"nodes": [0]}]}, "scenes has no entry -1"),
        ({"meshes": []}, "meshes has no entry 0, only 0"),
    ],
)
def test_entries_that_are_missing(tmp_path: Path, document: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.glb: {message}"):
        read_mesh(plain(**document).write(tmp_path / "a.glb"))


@pytest.mark.parametrize(
    ("view", "accessor", "message"),
    [
        ({"byteStride": 0}, {"count": 4_000_000_000}, "a byteStride of 0 is less than an element's 12 bytes"),
        ({"byteStride": -12}, {"count": 4_000_000_000}, "a byteStride of -12 is less than an element's 12 bytes"),
        ({}, {"count": 4_000_000_000}, "reaches beyond the end of its buffer"),
        ({}, {"count": 4_000_000_000, "bufferView": None}, "an accessor of 4000000000 elements has no data"),
    ],
)
def test_counts_without_data_take_no_memory(
    tmp_path: Path, view: dict[str, int], accessor: dict[str, Any], message: str
) -> None:
    gltf = GltfBuilder()
    entry = {"bufferView": gltf.view(POSITIONS.tobytes(), **view)} | accessor
    gltf.node(gltf.primitive(gltf.accessor(POSITIONS, **entry), FACES))
    with pytest.raises(DataError, match=message):
        read_mesh(gltf.write(tmp_path / "a.glb"))


def test_normals_of_some_parts_are_kept(tmp_path: Path) -> None:
    gltf = plain()
    gltf.node(gltf.primitive(POSITIONS + np.array([0, 0, 1], np.float32), FACES, NORMAL=-UP))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert data.mesh.normals is not None and data.mesh.normal_faces is not None
    towards = data.mesh.normals[data.mesh.normal_faces][:, :, 2]
    assert towards.tolist() == [[1.0] * 3] * 2 + [[-1.0] * 3] * 2
    assert data.notes == ("6 of its 12 corners lack a valid normal and get a smooth one",)


@pytest.mark.parametrize("name", ["POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0"])
def test_attributes_of_another_size(tmp_path: Path, name: str) -> None:
    gltf = GltfBuilder()
    attributes = {"POSITION": POSITIONS} | {name: POSITIONS[:, :1].copy()}
    gltf.node(gltf.primitive(attributes.pop("POSITION"), FACES, **attributes))
    with pytest.raises(DataError, match=rf"a\.glb: is not valid glTF .*{name} has 1 numbers per vertex"):
        read_mesh(gltf.write(tmp_path / "a.glb"))


def textured(gltf: GltfBuilder, height: float = 0.0, uvs: bool = True, **material: Any) -> None:
    coordinates = {"TEXCOORD_0": POSITIONS[:, :2]} if uvs else {}
    place = POSITIONS + np.array([0, 0, height], np.float32)
    gltf.node(gltf.primitive(place, FACES, material=gltf.add("materials", material), **coordinates))


def picture(gltf: GltfBuilder, level: int) -> dict[str, int]:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), (level, level, 255)).save(stream, "png")
    return {"index": gltf.texture(stream.getvalue())}


def test_maps_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    lost = {"index": gltf.add("textures", {"source": gltf.add("images", {"uri": "lost.png"})})}
    textured(gltf, normalTexture=lost)
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    (note,) = data.notes
    assert data.maps == {} and note.startswith("its normal texture is omitted: the file ") and "lost.png" in note

    gltf = GltfBuilder()
    one, other = picture(gltf, 100), picture(gltf, 150)
    textured(gltf, normalTexture=one, emissiveTexture=one, emissiveFactor=[1, 1, 1])
    textured(gltf, 1.0, normalTexture=other, emissiveFactor=[1, 1, 1])
    data = read_mesh(gltf.write(tmp_path / "b.glb"))
    assert data.maps == {} and data.notes[-2:] == (
        "its parts have 2 different normal textures, which are omitted",
        "its emissive texture is omitted: not all of its parts have one",
    )

    gltf = GltfBuilder()
    textured(gltf, uvs=False, normalTexture=picture(gltf, 100))
    data = read_mesh(gltf.write(tmp_path / "c.glb"))
    assert data.maps == {} and data.all_notes == ("not all of its parts have texture coordinates",)


@pytest.mark.parametrize(
    ("extension", "note"),
    [
        ({"KHR_materials_specular": {"specularFactor": 0}}, None),
        ({"KHR_materials_specular": {"specularFactor": 1, "specularColorFactor": [1, 1, 1]}}, None),
        ({"KHR_materials_specular": {"specularFactor": 0.5}}, "KHR_materials_specular"),
        ({"KHR_materials_specular": {"specularColorFactor": [1, 0, 0]}}, "KHR_materials_specular"),
        ({"KHR_materials_specular": {"specularTexture": {"index": 0}}}, "KHR_materials_specular"),
        ({"KHR_materials_pbrSpecularGlossiness": {"glossinessFactor": 0.5}}, "KHR_materials_pbrSpecularGlossiness"),
        ({"KHR_materials_pbrSpecularGlossiness": {"specularFactor": [0.04] * 3}}, None),
    ],
)
def test_reflections_that_we_do_not_have_are_told(tmp_path: Path, extension: dict[str, Any], note: str | None) -> None:
    gltf = GltfBuilder()
    picture(gltf, 100)
    textured(gltf, extensions=extension)
    gltf.document["extensionsUsed"] = [*extension]
    wanted = () if note is None else (f"how its materials reflect by {note} is simplified",)
    assert read_mesh(gltf.write(tmp_path / "a.glb")).notes == wanted


EXTENSIONS = ("KHR_materials_ior", "KHR_materials_variants", "KHR_texture_basisu", "KHR_materials_transmission")
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


@pytest.mark.parametrize("name", EXTENSIONS)
def test_what_is_only_used_is_noted_and_what_is_required_is_refused(tmp_path: Path, name: str) -> None:
    found = read_mesh(plain(extensionsUsed=[name]).write(tmp_path / "a.glb"))
    assert found.notes == (f"extensions that are not read: {name}",)
    with pytest.raises(DataError, match=rf"a\.glb: needs {name}, which is not supported; export it without"):
        read_mesh(plain(extensionsUsed=[name], extensionsRequired=[name]).write(tmp_path / "a.glb"))


def test_extensions_that_are_used_without_being_declared(tmp_path: Path) -> None:
    gltf = plain()
    gltf.document["materials"] = [{"extensions": {"KHR_materials_clearcoat": {"clearcoatFactor": 1}}}]
    assert read_mesh(gltf.write(tmp_path / "a.glb")).notes == ("extensions that are not read: KHR_materials_clearcoat",)
    gltf.document["meshes"][0]["primitives"][0]["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}
    with pytest.raises(DataError, match=r"a\.glb: is compressed with KHR_draco_mesh_compression"):
        read_mesh(gltf.write(tmp_path / "a.glb"))


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        DataError, match=rf"a\.glb: is compressed with {name}, which is not supported; export it without"
    ):
        read_mesh(plain(extensionsUsed=[name]).write(tmp_path / "a.glb"))


def test_an_axis_that_is_clamped_alone_is_told(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    reference = picture(gltf, 100)
    gltf.document["textures"][0]["sampler"] = gltf.add("samplers", {"wrapS": 33071, "wrapT": 10497})
    material = gltf.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": reference}})
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=3 * POSITIONS[:, :2], material=material))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert data.texture is not None and data.texture.wrap == "repeat"
    assert data.notes == ("its base_color texture, clamped along u or v, is repeated along both",)


def test_only_the_scene_that_a_file_shows_is_read(tmp_path: Path) -> None:
    gltf = plain(scene=1, scenes=[{"nodes": [0]}, {"nodes": [1]}])
    gltf.node(gltf.primitive(POSITIONS + np.float32(5), FACES))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert float(data.mesh.vertices.min()) == 5
    assert data.notes == ("it has 2 scenes; only the one that it shows first is read",)


def test_pictures_beside_the_file_may_have_any_name(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "Höhe #1 50%.png")
    image = gltf.add("images", {"uri": "H%C3%B6he%20%231%2050%25.png"})
    index = gltf.add("textures", {"source": image})
    textured(gltf, pbrMetallicRoughness={"baseColorTexture": {"index": index}})
    texture = read_mesh(gltf.write(tmp_path / "a.gltf")).texture
    assert texture is not None and texture.texels[0, 0].tolist() == [1, 0, 0]


def test_a_number_that_is_no_index_is_refused(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    textured(gltf, pbrMetallicRoughness={"baseColorTexture": picture(gltf, 100) | {"texCoord": float("inf")}})
    with pytest.raises(DataError, match=r"a\.glb: is not valid glTF \(OverflowError: cannot convert float infinity"):
        read_mesh(gltf.write(tmp_path / "a.glb"))
