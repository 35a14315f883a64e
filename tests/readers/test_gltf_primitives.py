from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.gltf_files import GltfBuilder, told

from diffrender.errors import DataError
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh

POSITIONS = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0.5], [0, 2, 0], [1, 3, 0.25]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3], [3, 2, 4]], np.uint32)
UVS = np.array([[0, 0], [1, 0], [1, 0.75], [0, 1], [0.5, 0.25]], np.float32)
SCALE = np.array([2.0, 0.5, -1.0])


def png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(stream, "png")
    return stream.getvalue()


def read(tmp_path: Path, gltf: GltfBuilder) -> MeshData:
    return read_mesh(gltf.write(tmp_path / "a.glb"))


def read_primitive(tmp_path: Path, indices: np.ndarray | None = FACES, **entry: Any) -> MeshData:
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(entry.pop("POSITION", POSITIONS), indices, **entry))
    return read(tmp_path, gltf)


def corners(data: MeshData) -> np.ndarray:
    """[F, 3, 3], each face beginning with its first corner in the order of the file's vertices."""
    found = data.mesh.vertices[data.mesh.faces].numpy()
    first = data.mesh.faces.argmin(1)
    return np.stack([np.roll(face, -int(start), 0) for face, start in zip(found, first, strict=True)])


EXPECTED = np.stack([np.roll(POSITIONS[face], -int(face.argmin()), 0) for face in FACES])


@pytest.mark.parametrize(
    ("indices", "mode"),
    [
        (FACES.astype(np.uint8), 4),
        (FACES.astype(np.uint16), 4),
        (FACES, 4),
        (np.array([1, 2, 0, 3], np.uint8), 5),
        (np.array([0, 1, 2, 3], np.uint8), 6),
    ],
)
def test_triangles_strips_and_fans_of_each_type_of_index(tmp_path: Path, indices: np.ndarray, mode: int) -> None:
    data = read_primitive(tmp_path, indices, mode=mode)
    np.testing.assert_array_equal(corners(data), EXPECTED[: 3 if mode == 4 else 2])


def test_vertices_without_indices_are_triangles_in_their_order(tmp_path: Path) -> None:
    data = read_primitive(tmp_path, None, POSITION=POSITIONS[FACES.reshape(-1)])
    np.testing.assert_array_equal(data.mesh.vertices[data.mesh.faces], POSITIONS[FACES])


@pytest.mark.parametrize("separate", [False, True])
def test_buffers_inside_the_document_and_beside_it(tmp_path: Path, separate: bool) -> None:
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(POSITIONS, FACES))
    data = read_mesh(gltf.write(tmp_path / "a.gltf", separate))
    assert torch.equal(data.mesh.vertices, torch.from_numpy(POSITIONS))


def test_interleaved_attributes(tmp_path: Path) -> None:
    rows = np.zeros(5, [("position", "<f4", 3), ("uv", "<f4", 2), ("color", "u1", 4)])
    rows["position"], rows["uv"] = POSITIONS, UVS
    rows["color"] = np.arange(20).reshape(5, 4) * 10
    gltf = GltfBuilder()
    view = gltf.view(rows.tobytes(), byteStride=rows.itemsize)
    gltf.node(
        gltf.primitive(
            gltf.accessor(rows["position"], bufferView=view),
            FACES,
            TEXCOORD_0=gltf.accessor(rows["uv"], bufferView=view, byteOffset=12),
            COLOR_0=gltf.accessor(rows["color"], bufferView=view, byteOffset=20, normalized=True),
        )
    )
    data = read(tmp_path, gltf)
    assert torch.equal(data.mesh.vertices, torch.from_numpy(POSITIONS))
    assert data.mesh.uvs is not None and torch.equal(data.mesh.uvs, torch.from_numpy(UVS))
    assert data.vertex_colors is not None
    torch.testing.assert_close(data.vertex_colors, torch.from_numpy(rows["color"][:, :3] / np.float32(255)))


@pytest.mark.parametrize("has_view", [True, False])
def test_sparse_accessors(tmp_path: Path, has_view: bool) -> None:
    gltf = GltfBuilder()
    replaced = np.array([[7, 8, 9], [4, 5, 6]], np.float32)
    sparse = {
        "count": 2,
        "indices": {"bufferView": gltf.view(np.array([1, 4], np.uint16).tobytes()), "componentType": 5123},
        "values": {"bufferView": gltf.view(replaced.tobytes())},
    }
    without = {} if has_view else {"bufferView": None}
    gltf.node(gltf.primitive(gltf.accessor(POSITIONS, sparse=sparse, **without), np.array([0, 1, 4], np.uint8)))
    assert read(tmp_path, gltf).mesh.vertices.tolist() == [[0, 0, 0], [7, 8, 9], [4, 5, 6]]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("factor", [None, [0.5, 0.25, 1.0, 1.0]])
def test_vertex_colours_of_each_type(tmp_path: Path, channels: int, dtype: Any, factor: list[float] | None) -> None:
    values = np.random.default_rng(0).random((5, channels))
    most = 1 if dtype == np.float32 else np.iinfo(dtype).max
    stored = (values * most).astype(dtype)
    gltf = GltfBuilder()
    material = {}
    if factor is not None:
        material = {"material": gltf.add("materials", {"pbrMetallicRoughness": {"baseColorFactor": factor}})}
    colors = gltf.accessor(stored, normalized=None if dtype == np.float32 else True)
    gltf.node(gltf.primitive(POSITIONS, FACES, COLOR_0=colors, **material))
    found = read(tmp_path, gltf).vertex_colors
    expected = stored[:, :3].astype(np.float64) / most * np.array([1, 1, 1] if factor is None else factor[:3])
    assert found is not None and torch.equal(found, torch.from_numpy(expected).float())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_normalized_texture_coordinates(tmp_path: Path, dtype: Any) -> None:
    gltf = GltfBuilder()
    stored = (UVS * np.iinfo(dtype).max).astype(dtype)
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=gltf.accessor(stored, normalized=True)))
    uvs = read(tmp_path, gltf).mesh.uvs
    assert uvs is not None
    torch.testing.assert_close(uvs, torch.from_numpy(UVS), atol=1 / np.iinfo(dtype).max, rtol=0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("normalized", [True, False])
def test_quantized_positions_and_normals(tmp_path: Path, dtype: Any, normalized: bool) -> None:
    gltf = GltfBuilder()
    gltf.document["extensionsUsed"] = gltf.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    most = np.iinfo(dtype).max
    stored = np.pad(np.round(POSITIONS / 3 * most).astype(dtype), ((0, 0), (0, 1)))
    up = np.array([[0, 60, 80, 0]] * 5, np.int8)
    view, of_normals = (gltf.view(each.tobytes(), byteStride=4 * each.itemsize) for each in (stored, up))
    positions = gltf.accessor(stored[:, :3], bufferView=view, normalized=normalized)
    normals = gltf.accessor(up[:, :3], bufferView=of_normals, normalized=True)
    gltf.node(gltf.primitive(positions, FACES, NORMAL=normals), scale=[3 if normalized else 3 / most] * 3)
    mesh = read(tmp_path, gltf).mesh
    torch.testing.assert_close(mesh.vertices, torch.from_numpy(POSITIONS), atol=3 / most, rtol=0)
    torch.testing.assert_close(mesh.normals, torch.tensor([[0, 0.6, 0.8]] * 5))


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_points_and_lines_are_skipped_with_a_note(tmp_path: Path, mode: int) -> None:
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(POSITIONS, FACES), gltf.primitive(POSITIONS, FACES, mode=mode))
    data = read(tmp_path, gltf)
    assert data.mesh.n_faces == 3 and told(data) == ("1 of its primitives are points or lines, which are skipped",)


def test_parts_are_joined_in_the_order_of_nodes_and_primitives(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    parts = [gltf.primitive(POSITIONS[:3] + 10 * i, np.array([0, 1, 2], np.uint8)) for i in range(4)]
    lines = gltf.primitive(POSITIONS, np.array([0, 1], np.uint8), mode=1)
    child = gltf.node(parts[1])
    gltf.node(parts[0], lines, children=[child])
    gltf.node(parts[2], parts[3])
    data = read(tmp_path, gltf)
    expected = np.concatenate([POSITIONS[:3] + 10 * i for i in range(4)])
    np.testing.assert_array_equal(data.mesh.vertices, expected)
    assert data.mesh.faces.tolist() == np.arange(12).reshape(4, 3).tolist()


def test_nodes_are_placed_by_all_their_parents_and_mirror_images_keep_their_outside(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    # 1.5 times a unit quaternion, as files with few digits have it: a turn by 90 degrees about z.
    turn = (1.5 * np.array([0, 0, np.sqrt(0.5), np.sqrt(0.5)])).tolist()
    child = gltf.node(gltf.primitive(POSITIONS, FACES), scale=SCALE.tolist(), translation=[1, 0, 0])
    gltf.node(rotation=turn, translation=[0, 0, 5], children=[child])
    moved = POSITIONS * SCALE + np.array([1, 0, 0])
    moved = np.stack([-moved[:, 1], moved[:, 0], moved[:, 2] + 5], 1)
    data = read(tmp_path, gltf)
    np.testing.assert_allclose(data.mesh.vertices, moved, atol=1e-6)
    assert data.mesh.faces.tolist() == FACES[:, ::-1].tolist()


def test_a_matrix_places_a_node_column_by_column(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(POSITIONS, FACES), matrix=[1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 7, 8, 9, 1])
    np.testing.assert_array_equal(read(tmp_path, gltf).mesh.vertices, POSITIONS * [1, 2, 1] + [7, 8, 9])


def textured(**reference: Any) -> GltfBuilder:
    gltf = GltfBuilder()
    texture = {"index": gltf.texture(png())} | reference
    material = gltf.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": texture}})
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=UVS, material=material))
    return gltf


@pytest.mark.parametrize("transform", [{}, {"offset": [0, 0], "scale": [1.0, 1.0], "rotation": 0.0}])
def test_a_transform_that_moves_nothing_is_accepted(tmp_path: Path, transform: dict[str, Any]) -> None:
    assert read(tmp_path, textured(extensions={"KHR_texture_transform": transform})).texture is not None


SECOND = UVS[:, ::-1] * 0.5 + 0.125
TURN = math.radians(30)
# Counter-clockwise as the picture is seen, its v pointing down: u goes towards -v.
TURNED = np.array([[math.cos(TURN), -math.sin(TURN)], [math.sin(TURN), math.cos(TURN)]])


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"texCoord": 1}, SECOND),
        ({"extensions": {"KHR_texture_transform": {"texCoord": 1}}}, SECOND),
        ({"texCoord": 1, "extensions": {"KHR_texture_transform": {"texCoord": 0}}}, UVS),
        ({"extensions": {"KHR_texture_transform": {"scale": [2, 3]}}}, UVS * [2, 3]),
        ({"extensions": {"KHR_texture_transform": {"rotation": TURN}}}, UVS @ TURNED),
        (
            {"extensions": {"KHR_texture_transform": {"offset": [0.5, -1], "rotation": TURN, "scale": [2, 3]}}},
            (UVS * [2, 3]) @ TURNED + [0.5, -1],
        ),
    ],
)
def test_textures_are_placed_as_their_coordinates_and_transforms_say(
    tmp_path: Path, reference: dict[str, Any], expected: np.ndarray
) -> None:
    gltf = textured(**reference)
    gltf.document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_1"] = gltf.accessor(SECOND.astype(np.float32))
    data = read(tmp_path, gltf)
    assert data.texture is not None and told(data) == () and data.mesh.uvs is not None
    found = np.zeros_like(expected)
    found[data.mesh.faces.reshape(-1)] = data.mesh.uvs.numpy()[data.mesh.uv_faces.reshape(-1)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    item = next(iter(read_gltf_scene(tmp_path / "a.glb").scene.objects.values()))
    torch.testing.assert_close(item.mesh.uvs, data.mesh.uvs)


def test_textures_without_their_coordinates_are_explained(tmp_path: Path) -> None:
    data = read(tmp_path, textured(texCoord=1))
    assert data.texture is None and data.texture_note == "not all of its parts have texture coordinates"


@pytest.mark.parametrize("size", [1.0, 2.5])
def test_mirrored_textures_look_as_the_sampler_says(tmp_path: Path, size: float) -> None:
    gltf = GltfBuilder()
    texture = gltf.texture(png())
    gltf.document["textures"][texture]["sampler"] = gltf.add("samplers", {"wrapS": 33648, "wrapT": 10497})
    material = gltf.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    uvs = (UVS * size).astype(np.float32)
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=uvs, material=material))
    data = read(tmp_path, gltf)
    plain = read(tmp_path, textured()).texture
    assert data.texture is not None and plain is not None and data.mesh.uvs is not None
    points = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * size
    scale = data.mesh.uvs.amax(0) / torch.from_numpy(uvs).amax(0)
    folded = points.clone()
    folded[:, 0] = 1 - (points[:, 0] % 2 - 1).abs()
    inner = ((points % 1 - 0.5).abs() < 0.2).all(1)  # away from borders, where filters look across
    found, expected = data.texture.sample(points * scale), plain.sample(folded)
    assert int(inner.sum()) > 20
    torch.testing.assert_close(found[inner], expected[inner], atol=2e-3, rtol=0)


def test_colours_that_only_materials_have_become_vertex_colours(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    red, plain = (
        gltf.add("materials", {"pbrMetallicRoughness": {"baseColorFactor": [*color, 1]}})
        for color in ([0.5, 0.25, 0.125], [1, 1, 1])
    )
    colors = np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], np.float32)
    gltf.node(
        gltf.primitive(POSITIONS, FACES, material=red),
        gltf.primitive(POSITIONS + np.float32(5), FACES, material=plain),
        gltf.primitive(POSITIONS + np.float32(9), FACES, COLOR_0=colors, material=red),
    )
    data = read(tmp_path, gltf)
    expected = np.concatenate([np.tile([0.5, 0.25, 0.125], (5, 1)), np.ones((5, 3)), colors * [0.5, 0.25, 0.125]])
    np.testing.assert_allclose(data.vertex_colors, expected, atol=1e-6)


def test_morph_targets_and_instances(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    up, red = np.array([[0, 0, 1]] * 5, np.float32), np.array([[1, 0, 0]] * 5, np.float32)
    target = {"POSITION": gltf.accessor(up), "NORMAL": gltf.accessor(2 * red), "COLOR_0": gltf.accessor(-red)}
    other = {"POSITION": gltf.accessor(9 * red)}
    primitive = gltf.primitive(POSITIONS, FACES, NORMAL=up, COLOR_0=0 * up + 1, targets=[target, other])
    places = np.array([[0, 0, 0], [10, 0, 0]], np.float32)
    sizes = np.array([[1, 1, 1], [2, 2, 2]], np.float32)
    attributes = {"TRANSLATION": gltf.accessor(places), "SCALE": gltf.accessor(sizes)}
    gltf.node(primitive, weights=[0.5, 0], extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}})
    data = read(tmp_path, gltf)
    moved = POSITIONS + np.array([0, 0, 0.5])
    np.testing.assert_allclose(data.mesh.vertices, np.concatenate([moved, moved * 2 + [10, 0, 0]]), atol=1e-6)
    assert data.mesh.normals is not None and data.vertex_colors is not None and told(data) == ()
    torch.testing.assert_close(data.mesh.normals, torch.tensor([0.5**0.5, 0, 0.5**0.5]).expand(10, 3))
    torch.testing.assert_close(data.vertex_colors, torch.tensor([0.5, 1, 1]).expand(10, 3))


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    gltf = textured()
    texture = {"index": 0}
    gltf.document["materials"][0] |= {
        "alphaMode": "BLEND", "occlusionTexture": texture, "emissiveFactor": [1, 1, 1],
        "emissiveTexture": texture | {"texCoord": 1},
    }  # fmt: skip
    colors = np.array([[1, 0.5, 0]] * 5, np.float32)
    gltf.document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = gltf.accessor(colors)
    gltf.document["meshes"][0]["primitives"].append(gltf.primitive(POSITIONS, None, mode=0))
    gltf.document["extensionsUsed"] = ["KHR_materials_variants", "KHR_materials_unlit"]
    gltf.add("animations", {})
    gltf.document["nodes"][0]["skin"] = 0
    notes = "\n".join(told(read(tmp_path, gltf)))
    for words in (
        "1 of its primitives are points or lines",
        "its vertex colours, which multiply its texture, are omitted",
        "alphaMode BLEND",
        "its occlusion texture",
        "textures that are placed otherwise",
        "its animations",
        "its skin is not applied",
        "extensions that are not read: KHR_materials_variants",
    ):
        assert words in notes
    gltf.document["extensionsRequired"] = ["KHR_texture_basisu", "EXT_texture_webp"]
    with pytest.raises(DataError, match="needs KHR_texture_basisu, which is not supported; export it without"):
        read(tmp_path, gltf)


def test_a_texture_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    gltf = textured()
    gltf.document["images"][0] = {"uri": "none.png"}
    assert "none.png, to which it refers, cannot be read" in str(read(tmp_path, gltf).texture_note)
    gltf.document["textures"][0] = {"extensions": {"KHR_texture_basisu": {"source": 0}}}
    assert str(read(tmp_path, gltf).texture_note).startswith("texture 0 has no PNG, JPEG or WebP image")


def test_webp_comes_before_the_picture_for_programs_without_it(tmp_path: Path) -> None:
    gltf = textured()
    stream = io.BytesIO()
    Image.new("RGB", (2, 3), (255, 255, 255)).save(stream, "webp", lossless=True)
    image = gltf.add("images", {"bufferView": gltf.view(stream.getvalue()), "mimeType": "image/webp"})
    gltf.document["textures"][0]["extensions"] = {"EXT_texture_webp": {"source": image}}
    texture = read(tmp_path, gltf).texture
    assert texture is not None and torch.equal(texture.texels, torch.ones(3, 2, 3))


def test_equal_pictures_of_several_parts_are_one_texture(tmp_path: Path) -> None:
    for seeds, is_one in (((0, 0), True), ((0, 1), False)):
        gltf = GltfBuilder()
        for seed in seeds:
            texture = {"index": gltf.texture(png(seed))}
            material = gltf.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": texture}})
            gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=UVS, material=material))
        data = read(tmp_path, gltf)
        assert (data.texture is not None) == is_one
        assert is_one or "2 different textures" in str(data.texture_note)


def test_a_specular_glossiness_material_has_its_diffuse_colour(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    glossy = {"diffuseTexture": {"index": gltf.texture(png())}, "glossinessFactor": 0.75}
    extensions = {"extensions": {"KHR_materials_pbrSpecularGlossiness": glossy}}
    material = gltf.add("materials", extensions)
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=UVS, material=material))
    data = read(tmp_path, gltf)
    assert data.texture is not None and (data.finish.metallic, data.finish.roughness) == (0.0, 0.25)


def test_parts_that_are_damaged_are_refused(tmp_path: Path) -> None:
    # Joined first, the index would be one of the next part.
    gltf = GltfBuilder()
    gltf.node(gltf.primitive(POSITIONS, np.array([0, 1, 9], np.uint8)), gltf.primitive(POSITIONS, FACES))
    with pytest.raises(DataError, match=r"a face uses vertex 9, but there are only 5 \(0\.\.4\)"):
        read(tmp_path, gltf)
    with pytest.raises(DataError, match="is not valid glTF: TEXCOORD_0 has 3 entries for 5 vertices"):
        read_primitive(tmp_path, TEXCOORD_0=UVS[:3])
    with pytest.raises(DataError, match="is not valid glTF"):
        read_primitive(tmp_path, np.array([0, 1, 2, 3], np.uint8))


def test_gltf_1_is_refused(tmp_path: Path) -> None:
    gltf = GltfBuilder()
    gltf.document["asset"]["version"] = "1.0"
    with pytest.raises(DataError, match=r"is glTF 1\.0, but only glTF 2 is supported"):
        read(tmp_path, gltf)
