from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.glb_edits import edit_glb
from support.material_kinds import cameras, exported_objects, lit_scene

from diffrender.errors import DataError
from diffrender.readers.gltf.scene import GltfScene, read_gltf_scene
from diffrender.scene.lights import Spot
from diffrender.scene.materials import Ggx, Lambert, Unlit
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.scene import GlbObject, write_glb

OBJECTS = exported_objects()


def round_trip(tmp_path: Path, kind: str, height: int = 48) -> GltfScene:
    scene = lit_scene(OBJECTS[kind])
    write_glb(tmp_path / "a.glb", [GlbObject.of("thing", OBJECTS[kind])], cameras(), scene.lights)
    return read_gltf_scene(tmp_path / "a.glb", height)


@pytest.mark.parametrize("kind", OBJECTS)
def test_meshes_and_kinds_of_materials_survive(tmp_path: Path, kind: str) -> None:
    (found,) = round_trip(tmp_path, kind).scene.objects.values()
    expected = OBJECTS[kind]
    assert type(found.material) is type(expected.material)
    corners = [item.mesh.vertices[item.mesh.faces] for item in (found, expected)]
    assert torch.equal(corners[0], corners[1])
    if kind != "ggx_vertex":
        assert (found.mesh.uvs is None) == (expected.mesh.uvs is None)


def test_values_of_materials_survive(tmp_path: Path) -> None:
    material = round_trip(tmp_path, "ggx").scene.objects["thing"].material
    assert isinstance(material, Ggx) and material.normal is None and material.emissive is None
    expected = OBJECTS["ggx"].material
    for name in ("base_color", "metallic", "roughness"):
        torch.testing.assert_close(getattr(material, name), getattr(expected, name))
    lambert = round_trip(tmp_path, "lambert_vertex").scene.objects["thing"]
    assert isinstance(lambert.material, Lambert) and isinstance(lambert.material.base_color, torch.Tensor)
    whole = OBJECTS["lambert_vertex"]
    assert isinstance(whole.material, Lambert) and isinstance(whole.material.base_color, torch.Tensor)
    found = lambert.material.base_color[lambert.mesh.faces]
    torch.testing.assert_close(found, whole.material.base_color[whole.mesh.faces])
    assert isinstance(round_trip(tmp_path, "unlit").scene.objects["thing"].material, Unlit)


def test_maps_survive_to_the_step_of_their_bits(tmp_path: Path) -> None:
    found = round_trip(tmp_path, "ggx_texture").scene.objects["thing"].material
    expected = OBJECTS["ggx_texture"].material
    # sRGB's steps are widest where it is steepest, at 1; emission reaches to 2.
    for name, step in (("base_color", 0.0045), ("metallic", 0.002), ("emissive", 0.009)):
        assert (getattr(found, name).texels - getattr(expected, name).texels).abs().max() < step
    # Roughness came in half the size of metallic, which it shares a picture with.
    assert found.roughness.texels.shape == (32, 32, 1)
    centres = (torch.arange(32) + 0.5) / 32
    uv = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    difference = found.roughness.sample(uv) - expected.roughness.sample(uv)
    assert difference.abs().max() < 0.0025
    unit = torch.nn.functional.normalize(expected.normal.texels, dim=-1)
    assert (found.normal.texels - unit).abs().max() < 0.0045
    texture = round_trip(tmp_path, "lambert_texture").scene.objects["thing"].material.base_color
    assert isinstance(texture, Texture) and texture.wrap == "clamp"


def test_lights_and_cameras_survive(tmp_path: Path) -> None:
    found = round_trip(tmp_path, "lambert")
    expected = lit_scene(OBJECTS["lambert"]).lights
    assert list(found.scene.lights) == ["key", "torch", "bulb"]
    for name, light in found.scene.lights.items():
        for field in ("radiance", "intensity", "position", "inner_deg", "outer_deg"):
            if hasattr(light, field):
                torch.testing.assert_close(getattr(light, field), getattr(expected[name], field))
        if hasattr(light, "direction"):
            turned = torch.nn.functional.normalize(expected[name].direction, dim=0)
            torch.testing.assert_close(light.direction, turned)
    assert isinstance(found.scene.lights["torch"], Spot)
    assert found.cameras is not None
    for name in ("cam_from_world", "focal_px", "center_px"):
        torch.testing.assert_close(getattr(found.cameras, name), getattr(cameras(), name), atol=1e-5, rtol=1e-5)
    assert (found.cameras.height, found.cameras.width) == (48, 56)
    assert (round_trip(tmp_path, "lambert", 96).cameras or found.cameras).width == 112


def test_a_foreign_file_with_all_left_out_has_gltf_s_defaults(tmp_path: Path) -> None:
    triangle = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"children": [1], "scale": [1, 2, 1]}, {"mesh": 0, "translation": [0, 1, 0]}],
        "scenes": [{"nodes": [0]}],
        "meshes": [{"name": "my.mesh", "primitives": [{"attributes": {"POSITION": 0}}] * 2}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36, "uri": "triangle.bin"}],
    }
    (tmp_path / "triangle.bin").write_bytes(triangle)
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    found = read_gltf_scene(tmp_path / "a.gltf")
    assert list(found.scene.objects) == ["my_mesh", "my_mesh_2"] and found.cameras is None
    item = found.scene.objects["my_mesh"]
    # Not a pose and a scale: the vertices are moved, after the parent's scale.
    assert item.vertices_w().tolist() == [[0, 2, 0], [1, 2, 0], [0, 4, 0]]
    assert isinstance(item.material, Ggx)
    assert [float(getattr(item.material, name).mean()) for name in ("base_color", "metallic", "roughness")] == [1, 1, 1]

    del document["scenes"]
    document["nodes"][0]["scale"] = [-1, 1, 1]
    document["nodes"].pop(1)
    document["nodes"][0] |= {"mesh": 0, "children": []}
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    mesh = read_gltf_scene(tmp_path / "a.gltf").scene.objects["my_mesh"].mesh
    normal = torch.linalg.cross(*(mesh.vertices[mesh.faces[0, i]] - mesh.vertices[mesh.faces[0, 0]] for i in (1, 2)))
    assert normal[2] > 0  # a mirror image still shows its front


@pytest.mark.parametrize("half_turn", [0.0, 0.3])
@pytest.mark.parametrize("scale", [[-1, 1, 1], [1, -1, 1], [1, 1, -1], [-2, 2, 2], [2, 3, 4], [-1, -1, -1]])
def test_cameras_below_mirrored_and_scaled_parents_look_where_they_look(
    tmp_path: Path, scale: list[float], half_turn: float
) -> None:
    write_glb(tmp_path / "a.glb", [GlbObject.of("thing", OBJECTS["lambert"])], cameras(), {})
    turn = [0.0, math.sin(half_turn), 0.0, math.cos(half_turn)]

    def below_a_parent(document: dict[str, Any]) -> None:
        index = next(i for i, node in enumerate(document["nodes"]) if "camera" in node)
        document["nodes"][index] = {"camera": document["nodes"][index]["camera"], "translation": [0, 0, 1]}
        document["nodes"].append({"scale": scale, "rotation": turn, "children": [index]})
        roots = document["scenes"][0]["nodes"]
        roots[roots.index(index)] = len(document["nodes"]) - 1

    edit_glb(tmp_path / "a.glb", below_a_parent)
    found = read_gltf_scene(tmp_path / "a.glb").cameras
    assert found is not None
    c, s = math.cos(2 * half_turn), math.sin(2 * half_turn)
    turned = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    sign = torch.tensor([math.copysign(1, each) for each in scale])
    by_position = [torch.dist(each, turned @ torch.tensor([0.0, 0, scale[2]])) for each in found.positions_w()]
    index = int(torch.stack(by_position).argmin())
    assert by_position[index] < 1e-5
    right, down, forward = found.cam_from_world[index, :3, :3]
    torch.testing.assert_close(forward, turned @ torch.tensor([0.0, 0, -1]) * sign[2])
    torch.testing.assert_close(down, turned @ torch.tensor([0.0, -1, 0]) * sign[1])
    torch.testing.assert_close(torch.linalg.cross(down, forward), right)


Change = Callable[[dict[str, Any]], object]
WRONG: dict[str, tuple[Change, str]] = {
    "compressed": (
        lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"]),
        "is compressed with KHR_draco",
    ),
    "required": (lambda d: d.update(extensionsRequired=["EXT_new"]), "needs EXT_new, which is not supported"),
    "lines": (lambda d: d["meshes"][0]["primitives"][0].update(mode=1), "holds lines or points"),
    "empty": (lambda d: d.update(nodes=[], scenes=[]), "holds no triangles"),
    "no accessor": (lambda d: d["meshes"][0]["primitives"][0].update(indices=99), "accessors has no entry 99"),
    "cut": (lambda d: d["accessors"][0].update(count=10**6), "beyond the end of its buffer"),
    "no position": (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("POSITION"), "is not valid glTF"),
    "circle": (lambda d: d["nodes"][0].update(children=[0]), "has two parents"),
    "placed apart": (
        lambda d: d["materials"][0].update(emissiveTexture={"index": 0, "texCoord": 1}),
        "the textures of a material are placed differently",
    ),
    "no picture": (lambda d: d["images"][0].update(bufferView=1), "image 0: is not an image"),
    "light": (
        lambda d: d["extensions"]["KHR_lights_punctual"]["lights"][0].update(type="area"),
        "unknown type 'area'",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_read_is_refused(tmp_path: Path, what: str) -> None:
    scene = lit_scene(OBJECTS["lambert_texture"])
    write_glb(tmp_path / "a.glb", [GlbObject.of("thing", OBJECTS["lambert_texture"])], cameras(), scene.lights)
    change, message = WRONG[what]
    edit_glb(tmp_path / "a.glb", change)
    with pytest.raises(DataError, match=message):
        read_gltf_scene(tmp_path / "a.glb")


def test_files_that_are_not_gltf_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_gltf_scene(tmp_path / "missing.glb")
    (tmp_path / "a.glb").write_bytes(b"glTF" + struct.pack("<II", 2, 100) + struct.pack("<I4s", 80, b"JSON") + b"{}")
    with pytest.raises(DataError, match="is cut off after 22 bytes"):
        read_gltf_scene(tmp_path / "a.glb")
    (tmp_path / "a.gltf").write_text("[]")
    with pytest.raises(DataError, match="must be an object, got a list"):
        read_gltf_scene(tmp_path / "a.gltf")


VALIDATOR = Path(os.environ.get("GLTF_VALIDATOR", "."))


@pytest.mark.skipif(
    shutil.which("node") is None or not (VALIDATOR / "node_modules" / "gltf-validator").is_dir(),
    reason="needs node, and the npm package gltf-validator in the folder that GLTF_VALIDATOR names",
)
def test_the_official_validator_has_no_objection(tmp_path: Path) -> None:
    for kind, item in OBJECTS.items():
        write_glb(tmp_path / f"{kind}.glb", [GlbObject.of("thing", item)], cameras(), lit_scene(item).lights)
    script = Path(__file__).parents[2] / "scripts" / "validate_gltf.mjs"
    command = ["node", script, *sorted(tmp_path.glob("*.glb"))]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GLTF_VALIDATOR": str(VALIDATOR)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 errors, 0 warnings") == len(OBJECTS)


def test_a_narrow_spot_keeps_its_cones(tmp_path: Path) -> None:
    spot = Spot(inner_deg=torch.tensor(5.0), outer_deg=torch.tensor(12.0))
    write_glb(tmp_path / "a.glb", [GlbObject.of("thing", OBJECTS["ggx"])], None, {"lamp": spot})
    lamp = read_gltf_scene(tmp_path / "a.glb").scene.lights["lamp"]
    assert isinstance(lamp, Spot)
    assert math.isclose(float(lamp.inner_deg), 5, abs_tol=1e-5) and math.isclose(
        float(lamp.outer_deg), 12, abs_tol=1e-5
    )
