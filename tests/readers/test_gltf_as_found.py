"""glTF files with unusual pictures, or with wrong numbers, which are named."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
import torch
from PIL import Image
from support.glb_edits import edit_glb
from support.gltf_files import GltfBuilder, told

from diffrender.errors import DataError
from diffrender.readers.gltf.mesh import NO_NORMALS
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts

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
    gltf.node(gltf.primitive(POSITIONS + np.array([0, 0, 1], np.float32), FACES, NORMAL=UP[:, [2, 0, 2]]))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert data.mesh.normals is not None and data.mesh.normal_faces is not None
    sideways = data.mesh.normals[data.mesh.normal_faces][:, :, 0]
    torch.testing.assert_close(sideways, torch.tensor([[0.0] * 3] * 2 + [[0.5**0.5] * 3] * 2))
    assert told(data) == ("6 of its 12 corners lack a valid normal and get a smooth one",)


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
    (note,) = told(data)
    assert data.maps == {} and note.startswith("its normal texture is omitted: the file ") and "lost.png" in note

    gltf = GltfBuilder()
    one, other = picture(gltf, 100), picture(gltf, 150)
    textured(gltf, normalTexture=one, emissiveTexture=one, emissiveFactor=[1, 1, 1])
    textured(gltf, 1.0, normalTexture=other, emissiveFactor=[1, 1, 1])
    data = read_mesh(gltf.write(tmp_path / "b.glb"))
    assert data.maps == {} and told(data)[-2:] == (
        "its parts have 2 different normal textures, which are omitted",
        "its emissive texture is omitted: not all of its parts have one",
    )

    gltf = GltfBuilder()
    textured(gltf, uvs=False, normalTexture=picture(gltf, 100))
    data = read_mesh(gltf.write(tmp_path / "c.glb"))
    assert data.maps == {} and told(data) == ("not all of its parts have texture coordinates",)


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
    assert told(read_mesh(gltf.write(tmp_path / "a.glb"))) == wanted


EXTENSIONS = ("KHR_materials_ior", "KHR_materials_variants", "KHR_texture_basisu", "KHR_materials_transmission")
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")


@pytest.mark.parametrize("name", EXTENSIONS)
def test_what_is_only_used_is_noted_and_what_is_required_is_refused(tmp_path: Path, name: str) -> None:
    found = read_mesh(plain(extensionsUsed=[name]).write(tmp_path / "a.glb"))
    assert told(found) == (f"extensions that are not read: {name}",)
    with pytest.raises(DataError, match=rf"a\.glb: needs {name}, which is not supported; export it without"):
        read_mesh(plain(extensionsUsed=[name], extensionsRequired=[name]).write(tmp_path / "a.glb"))


def test_extensions_that_are_used_without_being_declared(tmp_path: Path) -> None:
    gltf = plain()
    gltf.document["materials"] = [{"extensions": {"KHR_materials_clearcoat": {"clearcoatFactor": 1}}}]
    assert told(read_mesh(gltf.write(tmp_path / "a.glb"))) == ("extensions that are not read: KHR_materials_clearcoat",)
    gltf.document["meshes"][0]["primitives"][0]["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}
    assert "KHR_draco_mesh_compression" in told(read_mesh(gltf.write(tmp_path / "a.glb")))[0]
    del gltf.document["accessors"][1]["bufferView"]
    with pytest.raises(DataError, match=r"a\.glb: is compressed with KHR_draco_mesh_compression"):
        read_mesh(gltf.write(tmp_path / "a.glb"))


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        DataError, match=rf"a\.glb: is compressed with {name}, which is not supported; export it without"
    ):
        read_mesh(plain(extensionsUsed=[name], extensionsRequired=[name]).write(tmp_path / "a.glb"))
    # Who only uses it has the same uncompressed.
    found = read_mesh(plain(extensionsUsed=[name]).write(tmp_path / "a.glb"))
    assert found.mesh.n_faces == 2 and told(found) == (f"extensions that are not read: {name}",)


def test_a_buffer_without_data_is_told(tmp_path: Path) -> None:
    path = plain().write(tmp_path / "a.glb")

    def move(document: dict[str, Any]) -> None:
        document["buffers"].append({"byteLength": 999, "extensions": {"EXT_meshopt_compression": {"fallback": True}}})
        document["bufferViews"][0]["buffer"] = 1

    edit_glb(path, move)
    with pytest.raises(DataError, match=r"a\.glb: buffer 1 has no data, as of compressed files; export it"):
        read_mesh(path)


def test_what_follows_in_a_glb_is_not_read(tmp_path: Path) -> None:
    path = plain().write(tmp_path / "a.glb")
    content = path.read_bytes()
    second = struct.pack("<I4s", 64, b"BIN\0") + bytes(64)
    longer = content[:8] + struct.pack("<I", len(content) + len(second)) + content[12:] + second
    for data in (longer, content + b"\nmore than eight bytes"):
        path.write_bytes(data)
        np.testing.assert_array_equal(read_mesh(path).mesh.vertices, POSITIONS)
    path.write_bytes(struct.pack("<4sIIII", b"glTF", 1, 40, 20, 0) + b"{}".ljust(20))
    with pytest.raises(DataError, match=r"a\.glb: is glTF 1, but only glTF 2 is supported"):
        read_mesh(path)


def test_data_in_the_document_need_not_be_base64(tmp_path: Path) -> None:
    gltf = plain()
    path = gltf.write(tmp_path / "a.gltf")
    document = json.loads(path.read_text())
    plainly = document["buffers"][0]["uri"]
    for uri in (f"data:,{quote_from_bytes(bytes(gltf.buffer))}", plainly.replace("+", "%2B").replace("=", "%3D")):
        document["buffers"][0]["uri"] = uri
        path.write_text(json.dumps(document))
        np.testing.assert_array_equal(read_mesh(path).mesh.vertices, POSITIONS)


def test_numbers_that_need_no_normalization(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(gltf.accessor(POSITIONS, normalized=True), FACES))
    np.testing.assert_array_equal(read_mesh(gltf.write(tmp_path / "a.glb")).mesh.vertices, POSITIONS)


@pytest.mark.parametrize(
    ("key", "first", "second", "note"),
    [
        ("metallicRoughnessTexture", {"roughnessFactor": 0.2}, {"roughnessFactor": 0.9}, "metallic_roughness"),
        ("emissiveTexture", {"emissiveFactor": [1, 1, 1]}, {}, "emissive"),
        ("normalTexture", {"scale": 0.5}, {}, "normal"),
    ],
)
def test_factors_of_shared_maps_that_differ_are_told(
    tmp_path: Path, key: str, first: dict[str, Any], second: dict[str, Any], note: str
) -> None:
    gltf = GltfBuilder()
    shared = picture(gltf, 100)
    for x, factor in enumerate((first, second)):
        of_texture = {key: shared | (factor if "scale" in factor else {})}
        material = of_texture | ({} if "scale" in factor else factor)
        textured(gltf, float(x), **({"pbrMetallicRoughness": material} if note == "metallic_roughness" else material))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    about = f"its materials multiply the {note} texture by different numbers, which are omitted"
    assert note in data.maps and about in told(data)
    assert all(about not in told(part) for part in read_mesh_parts(tmp_path / "a.glb").values())


def test_ways_to_continue_a_shared_texture_that_differ_are_told(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    picture(gltf, 100)
    for x, code in enumerate((33071, 33648)):
        sampler = gltf.add("samplers", {"wrapS": code, "wrapT": code})
        texture = {"index": gltf.add("textures", {"source": 0, "sampler": sampler})}
        textured(gltf, float(x), pbrMetallicRoughness={"baseColorTexture": texture})
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert data.texture is not None and told(data) == (
        "its materials continue the base_color texture outside 0..1 in different ways; the first one's is taken",
    )
    assert all(told(part) == () for part in read_mesh_parts(tmp_path / "a.glb").values())


@pytest.mark.parametrize("mirrored", [False, True])
def test_skins_are_in_the_pose_of_the_joints(tmp_path: Path, mirrored: bool) -> None:
    gltf = GltfBuilder()
    weights = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 0, 2]], np.float32)
    joints = np.array([[0, 1, 9, 9], [0, 1, 9, 9], [0, 1, 9, 9], [9, 9, 9, 1]], np.uint8)
    primitive = gltf.primitive(POSITIONS, FACES, NORMAL=UP, JOINTS_0=joints, WEIGHTS_0=weights)
    gltf.node(primitive, skin=0, scale=[100, 100, 100])  # which does not count
    half = 0.5**0.5
    low = gltf.add("nodes", {"translation": [0, 0, 5], "children": [2], "scale": [-2 if mirrored else 2, 2, 2]})
    high = gltf.add("nodes", {"rotation": [0, half, 0, half], "translation": [1, 0, 0]})
    inverse = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
    inverse[1, :3, 3] = [-1, 0, 0]
    stored = np.ascontiguousarray(inverse.transpose(0, 2, 1)).reshape(2, 16)
    skin = {"joints": [low, high], "inverseBindMatrices": gltf.accessor(stored)}
    gltf.document["skins"] = [skin]
    mesh = read_mesh(gltf.write(tmp_path / "a.glb")).mesh
    x = -1 if mirrored else 1
    first = np.array([[2.0 * x, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 5], [0, 0, 0, 1]])
    turn = np.array([[0.0, 0, 1, 1], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    second = first @ turn @ inverse[1]
    moved = [np.append(point, 1) for point in POSITIONS]
    expected = [first @ moved[0], (first @ moved[1] + second @ moved[1]) / 2, second @ moved[2], second @ moved[3]]
    np.testing.assert_allclose(mesh.vertices, np.stack(expected)[:, :3], atol=1e-5)
    assert mesh.faces.tolist() == (FACES[:, ::-1] if mirrored else FACES).tolist()
    assert mesh.normals is not None and mesh.normal_faces is not None
    of_vertex = torch.zeros(4, 3).index_put((mesh.faces.reshape(-1),), mesh.normals[mesh.normal_faces.reshape(-1)])
    torch.testing.assert_close(of_vertex[0], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(of_vertex[2], torch.tensor([1.0 * x, 0, 0]))


def test_a_vertex_without_weights_stays_where_its_node_is(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    weights = np.array([[1, 0, 0, 0]] * 3 + [[0, 0, 0, 0]], np.float32)
    primitive = gltf.primitive(POSITIONS, FACES, JOINTS_0=np.zeros((4, 4), np.uint8), WEIGHTS_0=weights)
    gltf.node(primitive, skin=0, translation=[0, 0, 7])
    gltf.document["skins"] = [{"joints": [gltf.add("nodes", {"translation": [3, 0, 0]})]}]
    vertices = read_mesh(gltf.write(tmp_path / "a.glb")).mesh.vertices
    np.testing.assert_allclose(vertices, POSITIONS + np.array([[3, 0, 0]] * 3 + [[0, 0, 7]]), atol=1e-6)


@pytest.mark.parametrize("is_apart", [True, False], ids=["joint not in the scene", "too few matrices"])
def test_a_skin_that_cannot_be_applied_leaves_the_mesh_as_modelled(tmp_path: Path, is_apart: bool) -> None:
    gltf = GltfBuilder()
    weights = np.array([[1, 0, 0, 0]] * 4, np.float32)
    primitive = gltf.primitive(POSITIONS, FACES, JOINTS_0=np.zeros((4, 4), np.uint8), WEIGHTS_0=weights)
    gltf.node(primitive, skin=0, translation=[0, 0, 7])
    gltf.node(gltf.primitive(POSITIONS + np.float32(20), FACES))
    joints = [gltf.add("nodes", {"translation": [3, 0, 0]}) for _ in range(2)]
    skin = {"joints": joints}
    if is_apart:
        gltf.document["scenes"] = [{"nodes": [0, 1, joints[0]]}]
    else:
        skin["inverseBindMatrices"] = gltf.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
    gltf.document["skins"] = [skin]
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    expected = np.concatenate([POSITIONS + np.array([0, 0, 7]), POSITIONS + 20])
    np.testing.assert_allclose(data.mesh.vertices, expected, atol=1e-6)
    reason = "a joint is not in the scene" if is_apart else "it has 2 joints but 1 inverseBindMatrices"
    assert f"its skin is not applied ({reason}): the mesh is shown as modelled" in data.notes


def test_an_axis_that_is_clamped_alone_is_told(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    reference = picture(gltf, 100)
    gltf.document["textures"][0]["sampler"] = gltf.add("samplers", {"wrapS": 33071, "wrapT": 10497})
    material = gltf.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": reference}})
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=3 * POSITIONS[:, :2], material=material))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert data.texture is not None and data.texture.wrap == "repeat"
    assert told(data) == ("its base_color texture, clamped along u or v, is repeated along both",)


def test_only_the_scene_that_a_file_shows_is_read(tmp_path: Path) -> None:
    gltf = plain(scene=1, scenes=[{"nodes": [0]}, {"nodes": [1]}])
    gltf.node(gltf.primitive(POSITIONS + np.float32(5), FACES))
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert float(data.mesh.vertices.min()) == 5
    assert told(data) == ("it has 2 scenes; only the one that it shows first is read",)


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("Höhe #1 50%.png", "H%C3%B6he%20%231%2050%25.png"),
        ("my%20skin.png", "my%20skin.png"),
        ("parts/my skin.png", "parts\\my%20skin.png"),
    ],
)
def test_pictures_beside_the_file_may_have_any_name(tmp_path: Path, file: str, uri: str) -> None:
    gltf = GltfBuilder()
    (tmp_path / "parts").mkdir()
    Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / file)
    image = gltf.add("images", {"uri": uri})
    index = gltf.add("textures", {"source": image})
    textured(gltf, pbrMetallicRoughness={"baseColorTexture": {"index": index}})
    texture = read_mesh(gltf.write(tmp_path / "a.gltf")).texture
    assert texture is not None and texture.texels[0, 0].tolist() == [1, 0, 0]


def test_a_number_that_is_no_index_is_refused(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    textured(gltf, pbrMetallicRoughness={"baseColorTexture": picture(gltf, 100) | {"texCoord": float("inf")}})
    with pytest.raises(DataError, match=r"a\.glb: is not valid glTF \(OverflowError: cannot convert float infinity"):
        read_mesh(gltf.write(tmp_path / "a.glb"))


def test_meshes_without_normals_are_told_unless_nothing_lights_them(tmp_path: Path) -> None:
    up = np.tile(np.float32([0, 0, 1]), (3, 1))
    for material, normals, notes in (
        ({}, {}, (NO_NORMALS,)),
        ({"extensions": {"KHR_materials_unlit": {}}}, {}, ()),
        ({}, {"NORMAL": up}, ()),
    ):
        gltf = GltfBuilder()
        gltf.document["extensionsUsed"] = list(material.get("extensions", {}))
        corner = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        gltf.node(gltf.primitive(corner, np.uint8([0, 1, 2]), material=gltf.add("materials", material), **normals))
        assert read_mesh(gltf.write(tmp_path / "a.glb")).notes == notes


def test_nodes_that_are_not_visible_are_not_read(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    corner = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    child = gltf.node(gltf.primitive(corner + 5, np.uint8([0, 1, 2])))
    off, on = ({"KHR_node_visibility": {"visible": visible}} for visible in (False, True))
    gltf.node(gltf.primitive(corner + 7, np.uint8([0, 1, 2])), extensions=off, children=[child])
    gltf.node(gltf.primitive(corner, np.uint8([0, 1, 2])), extensions=on)
    gltf.document["extensionsRequired"] = ["KHR_node_visibility"]
    data = read_mesh(gltf.write(tmp_path / "a.glb"))
    assert told(data) == () and data.mesh.bounds().tolist() == [[0, 0, 0], [1, 1, 0]]
    assert list(read_gltf_scene(tmp_path / "a.glb").scene.objects) == ["object"]


def test_a_sampler_of_the_nearest_texel_is_told(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    shared = picture(gltf, 100)
    gltf.document["textures"][shared["index"]]["sampler"] = gltf.add("samplers", {"magFilter": 9728})
    textured(gltf, 0.0, pbrMetallicRoughness={"baseColorTexture": shared})
    (note,) = told(read_mesh(gltf.write(tmp_path / "a.glb")))
    assert note == "its base_color texture is interpolated between texels, where its sampler takes the nearest"
