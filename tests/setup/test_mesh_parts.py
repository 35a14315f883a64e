"""Mesh files of several materials: each becomes an object of the scene, with its own texture or colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.config.load import load_config
from diffrender.errors import ConfigError
from diffrender.readers.mesh_file import plain_names
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.writers.gltf.scene import GlbObject, write_glb

ROOM = """mtllib room.mtl
o Table.001
v -1 0 -1
v 1 0 -1
v 1 0 1
v -1 0 1
v -1 -.2 -1
v 1 -.2 -1
v 1 -.2 1
v -1 -.2 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl Wood Oak
f 4/4 3/3 2/2 1/1
usemtl Metal #2
f 5/1 6/2 7/3 8/4
f 1 2 6 5
o Ball
v -.3 .1 0
v .3 .1 0
v 0 .1 .3
v 0 .5 0
usemtl Red
f 9 11 12
f 11 10 12
usemtl Red again
f 10 9 12
f 9 10 11
"""
LIBRARY = """newmtl Wood Oak
map_Kd wood.png
newmtl Metal #2
map_Kd metal.png
newmtl Red
Kd .8 .1 .1
newmtl Red again
Kd .8 .1 .1
"""
SCENE = """
targets: {resolution: 24, synthetic: {mesh: room.obj, lights: [ambient], views: 3}}
mesh: room.obj
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "room.obj").write_text(ROOM)
    (tmp_path / "room.mtl").write_text(LIBRARY)
    for name, color in (("wood", (150, 100, 50)), ("metal", (120, 120, 140))):
        Image.fromarray(np.full((4, 4, 3), color, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path / "room.obj"


def build(folder: Path, text: str) -> FitSetup:
    (folder / "scene.yaml").write_text(text)
    return build_fit(load_config(folder / "scene.yaml"))


def test_a_file_has_a_part_per_material_that_looks_different(room: Path) -> None:
    parts = read_mesh_parts(room)
    assert {name: part.mesh.n_faces for name, part in parts.items()} == {"Wood_Oak": 2, "Metal_2": 4, "Red": 4}
    wood, metal = parts["Wood_Oak"].texture, parts["Metal_2"].texture
    assert wood is not None and wood.texels[0, 0, 0] > 2 * wood.texels[0, 0, 2]
    assert metal is None  # some of its faces have no texture coordinates
    assert parts["Metal_2"].texture_note == "not all of its faces have texture coordinates"
    colors = parts["Red"].vertex_colors
    assert colors is not None
    torch.testing.assert_close(colors, torch.tensor([0.8, 0.1, 0.1]).repeat(4, 1))


def test_a_file_has_a_part_per_object_and_material(room: Path) -> None:
    assert list(read_mesh_parts(room, "objects")) == ["Table_001_Wood_Oak", "Table_001_Metal_2", "Ball"]


def test_names_of_parts_are_names_of_files_anywhere() -> None:
    composed, decomposed = "Stra\u00dfe \u00e4", "Stra\u00dfe a\u0308"
    names = ["a", "A", "a_2", "../x/", "", composed, decomposed, "n" * 300, "n" * 299 + "m", "\u65e5" * 300]
    found = plain_names(names)
    assert found[:7] == ["a", "A_2", "a_2_2", "x", "part", "Stra\u00dfe_\u00e4", "Stra\u00dfe_\u00e4_2"]
    assert len({name.casefold() for name in found}) == len(names)
    assert all(len(f"initial_{name}_obj".encode()) <= 255 for name in found)


def test_parts_hold_the_triangles_of_the_file_once(room: Path) -> None:
    whole = read_mesh(room).mesh
    corners = [part.mesh.vertices[part.mesh.faces] for part in read_mesh_parts(room).values()]
    torch.testing.assert_close(torch.cat(corners), whole.vertices[whole.faces], rtol=0, atol=0)


def test_glb_parts_come_back_with_their_names_colors_and_textures(tmp_path: Path) -> None:
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    faces = torch.tensor([[0, 1, 2]])
    red, blue = Texture(torch.tensor([1.0, 0, 0]).repeat(2, 2, 1)), Texture(torch.tensor([0.0, 0, 1]).repeat(2, 2, 1))
    objects = [
        GlbObject("cup.1", Mesh(corners, faces, uvs, faces), red),
        GlbObject("dish", Mesh(corners + 2, faces, uvs, faces), blue),
        GlbObject("fork", Mesh(corners + 4, faces), torch.tensor([0.0, 1, 0])),
    ]
    write_glb(tmp_path / "set.glb", objects)
    for split in ("materials", "objects"):
        parts = read_mesh_parts(tmp_path / "set.glb", split)  # type: ignore[arg-type]
        assert list(parts) == ["cup_1", "dish", "fork"]
        for part, color in zip(parts.values(), ([1.0, 0, 0], [0.0, 0, 1], [0.0, 1, 0]), strict=True):
            found = part.vertex_colors if part.texture is None else part.texture.texels.reshape(-1, 3)
            assert found is not None
            torch.testing.assert_close(found, torch.tensor(color).repeat(len(found), 1))
        assert parts["dish"].mesh.vertices.amin() == 2


def test_a_scene_has_an_object_per_part_and_learns_all(room: Path) -> None:
    setup = build(room.parent, SCENE)
    assert list(setup.scene.objects) == ["Wood_Oak", "Metal_2", "Red"]
    assert setup.target_scene is not None and list(setup.target_scene.objects) == list(setup.scene.objects)
    assert isinstance(setup.scene.objects["Wood_Oak"].material.base_color, Texture)
    # Parts of one surface are learned as one mesh.
    assert len(setup.model.values()) == 6 and len(setup.model.latents) == 4
    assert list(setup.notes) == ["room.obj (Metal_2): not all of its faces have texture coordinates"]


def test_the_resolved_scene_has_the_parts_and_builds_the_same(room: Path) -> None:
    setup = build(room.parent, SCENE)
    assert setup.config.mesh is None and setup.config.objects is not None
    again = build_fit(setup.config)
    assert again.config == setup.config
    assert list(again.model.latents) == list(setup.model.latents)


def test_short_paths_and_paths_of_the_entry_mean_all_parts(room: Path) -> None:
    setup = build(room.parent, SCENE + "optimize: {material.base_color: {lr: 0.1}, mesh.vertices: off}")
    assert list(setup.model.latents) == [
        f"objects.{name}.material.base_color" for name in ("Wood_Oak", "Metal_2", "Red")
    ]
    entry = SCENE.replace(
        "mesh: room.obj\n", "objects: [{name: set, mesh: room.obj}, {name: dot, mesh: {init: box}}]\n"
    )
    setup = build(room.parent, entry + "optimize: {objects.set.mesh.vertices: {}, objects.set_Red.pose: {}}")
    names = ("set_Wood_Oak", "set_Metal_2", "set_Red")
    assert list(setup.scene.objects) == [*names, "dot"]
    learned = [*(f"objects.{name}.mesh.vertices" for name in names), "objects.set_Red.pose"]
    assert sorted(setup.model.values()) == sorted(learned)


def test_one_part_or_the_whole_as_one(room: Path) -> None:
    one = build(room.parent, SCENE.replace("\nmesh: room.obj", "\nmesh: {file: room.obj, part: Red}"))
    assert one.scene.objects["object"].mesh.n_faces == 4
    whole = build(room.parent, SCENE.replace("\nmesh: room.obj", "\nmesh: {file: room.obj, split: none}"))
    assert whole.scene.objects["object"].mesh.n_faces == 10


@pytest.mark.parametrize(
    "scene, message",
    [
        (SCENE + "optimize: {pose: {}}", "became 3 objects, one per material, that would move apart"),
        (
            SCENE.replace("\nmesh: room.obj", "\nmesh: {file: room.obj, part: Blue}"),
            "no part 'Blue' by materials; it has",
        ),
        (SCENE + "optimize: {objects.Blue.mesh.vertices: {}}", "no 'objects.Blue.mesh.vertices' in the scene"),
        (SCENE + "optimize: {objects.Red.mesh.vertixes: {}}", "unknown key or path"),
        (
            SCENE.replace(
                "\nmesh: room.obj", "\nobjects: [{name: a, mesh: room.obj}, {name: a_Red, mesh: {init: box}}]"
            ),
            "two objects would be named 'a_Red'",
        ),
    ],
)
def test_what_parts_cannot_be(room: Path, scene: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(room.parent, scene)
    assert message in str(caught.value)


def test_parts_of_a_file_far_from_the_origin_stay_together(room: Path) -> None:
    far = room.with_name("far.obj")
    lines = [
        "v " + " ".join(f"{float(x) + 4649776:.3f}" for x in line.split()[1:]) if line.startswith("v ") else line
        for line in ROOM.splitlines()
    ]
    far.write_text("\n".join(lines))
    near, moved = read_mesh_parts(room), read_mesh_parts(far, origin=(4649776.0,) * 3)
    for name in near:
        torch.testing.assert_close(moved[name].mesh.vertices, near[name].mesh.vertices, rtol=0, atol=1e-6)


def test_midpoint_subdivision_keeps_borders_closed(room: Path) -> None:
    mesh = "{file: room.obj, subdivide: {times: 1, scheme: midpoint}}"
    setup = build(room.parent, SCENE.replace("\nmesh: room.obj", f"\nmesh: {mesh}"))
    assert [item.mesh.n_faces for item in setup.scene.objects.values()] == [8, 16, 16]


def test_library_scenes_of_parts_are_plain_objects(room: Path) -> None:
    parts = read_mesh_parts(room)
    scene = Scene({name: Object(part.mesh, Unlit(torch.ones(3))) for name, part in parts.items()}, {})
    assert list(scene.objects) == list(parts)


def test_mistakes_in_settings_of_a_part_are_told(room: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 mistake\n[^\n]*\n?.*lr"):
        build(room.parent, SCENE + "optimize: {objects.Red.mesh.vertices: {lr: fast}}")
