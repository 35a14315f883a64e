from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.material_kinds import cameras, exported_objects, lit_scene, phong_object

from diffrender.app.export_check import evenly_spaced_indices, export_psnr_db
from diffrender.imaging.metrics import MOST_DB
from diffrender.render.render import render
from diffrender.scene.materials import Lambert
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.writers.gltf.scene import GlbObject, write_glb

OBJECTS = exported_objects()


def proof(tmp_path: Path, written: Scene, fitted: Scene, stops: float | None = None) -> float:
    objects = [GlbObject.of(name, item) for name, item in written.objects.items()]
    write_glb(tmp_path / "a.glb", objects, cameras(), written.lights)
    photographs = cameras() if stops is None else replace(cameras(), exposure=torch.full((len(cameras()),), stops))
    return export_psnr_db(tmp_path / "a.glb", fitted, photographs, render)


def moved(along_x: float) -> torch.Tensor:
    pose = torch.eye(4)
    pose[0, 3] = along_x
    return pose


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_exported_scene_looks_like_the_original(tmp_path: Path, kind: str) -> None:
    scene = lit_scene(OBJECTS[kind])
    found = proof(tmp_path, scene, scene)
    assert found >= 50
    # Without 8-bit textures only the last bits of floats are lost.
    assert found > 90 or "texture" in kind or kind == "ggx_vertex"
    assert found <= MOST_DB


def test_a_material_that_gltf_does_not_have_lowers_the_psnr(tmp_path: Path) -> None:
    scene = lit_scene(phong_object())
    assert 20 < proof(tmp_path, scene, scene) < 40


def test_dark_photographs_do_not_flatter_the_file(tmp_path: Path) -> None:
    scene = lit_scene(phong_object())
    assert proof(tmp_path, scene, scene, stops=-6.0) == proof(tmp_path, scene, scene)


@pytest.mark.parametrize("wrong", ["colour", "light", "vertex", "pose"])
def test_a_file_that_shows_something_else_is_found_out(tmp_path: Path, wrong: str) -> None:
    scene = lit_scene(OBJECTS["lambert"])
    item = scene.objects["thing"]
    if wrong == "colour":
        item = replace(item, material=Lambert(torch.tensor([0.25, 0.5, 0.7])))
    elif wrong == "vertex":
        item = replace(item, mesh=item.mesh.with_vertices(item.mesh.vertices * 1.05))
    elif wrong == "pose":
        item = replace(item, pose=moved(0.05))
    lights = dict(scene.lights)
    if wrong == "light":
        lights["key"] = replace(lights["key"], radiance=torch.tensor([1.5, 0.9, 0.7]))
    written = Scene({"thing": item}, lights, scene.background)
    assert proof(tmp_path, written, scene) < 42


def test_placed_and_scaled_objects_come_back_where_they_were(tmp_path: Path) -> None:
    pose = torch.eye(4)
    pose[:3, :3] = torch.linalg.qr(torch.tensor([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]]))[0]
    pose[:3, :3] *= torch.linalg.det(pose[:3, :3]).sign()
    pose[:3, 3] = torch.tensor([0.4, -0.2, 0.1])
    items = {
        "left": replace(OBJECTS["lambert_vertex"], pose=pose, scale=torch.tensor(0.4)),
        "right": Object(OBJECTS["ggx"].mesh, OBJECTS["ggx"].material, scale=torch.tensor(0.3)),
    }
    scene = replace(lit_scene(OBJECTS["ggx"]), objects=items)
    assert proof(tmp_path, scene, scene) > 80


def test_a_mesh_far_from_its_own_origin_is_rendered_as_well(tmp_path: Path) -> None:
    scene = lit_scene(OBJECTS["lambert"])
    item = scene.objects["thing"]
    away = torch.tensor([1000.0, 0, 0])
    far = replace(item, mesh=item.mesh.with_vertices(item.mesh.vertices + away), pose=moved(-1000.0))
    scene = replace(scene, objects={"thing": far})
    assert proof(tmp_path, scene, scene) > 90


def test_nothing_in_view_is_no_number(tmp_path: Path) -> None:
    away = replace(OBJECTS["lambert"], pose=moved(100.0))
    assert math.isnan(proof(tmp_path, lit_scene(away), lit_scene(away)))


@pytest.mark.parametrize(("total", "expected"), [(1, [0]), (3, [0, 1, 2]), (8, [0, 2, 4, 6])])
def test_views_are_spread_evenly(total: int, expected: list[int]) -> None:
    assert evenly_spaced_indices(total, 4) == expected
