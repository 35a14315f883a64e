"""Arguments of a wrong type at the public functions for meshes: one sentence of ours, with function and argument."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffrender as dr
from diffrender.geometry.primitives import icosphere

VERTICES, FACES = icosphere(1)
MESH = dr.Mesh(VERTICES, FACES)
BALL = dr.Object(MESH, dr.Lambert(torch.ones(3)))
QUERY = dr.SurfaceQuery(MESH)
ANY: Any = None
NOT_PATHS = (None, 3, b"a.obj", ["a.obj"], torch.ones(3))
NOT_MESHES = (None, "a.obj", (VERTICES, FACES), torch.ones(3))
MADE = (VERTICES, FACES)
FLAT_UVS = torch.zeros(42, 2)


def cases() -> list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]]:
    found: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = []

    def refused(message: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        found.append((function, arguments, named, message))

    for path in NOT_PATHS:
        for read in (dr.read_mesh, dr.read_mesh_parts, dr.read_image, dr.read_transforms):
            refused(f"{read.__name__}: path must be a path or its text", read, path)
        for write, item in ((dr.write_obj, MESH), (dr.write_ply, MESH), (dr.write_glb, [])):
            refused(f"{write.__name__}: path must be a path or its text", write, path, item)
    for mesh in NOT_MESHES:
        refused("write_obj: mesh must be a Mesh", dr.write_obj, "a.obj", mesh)
        refused("write_ply: mesh must be a Mesh", dr.write_ply, "a.ply", mesh)
        one = [dr.GlbObject("a", mesh, torch.ones(3))]
        refused("write_glb: mesh of 'a' must be a Mesh", dr.write_glb, "a.glb", one)
        refused("Object: mesh must be a Mesh", dr.Object, mesh, BALL.material)
        refused("check_mesh: the surface must be a Mesh or Triangles", dr.check_mesh, mesh)
        refused("SurfaceQuery: the surface must be a Mesh or Triangles", dr.SurfaceQuery, mesh)
        refused("compare_meshes: first must be a Mesh", dr.compare_meshes, mesh, MESH)
        refused("compare_meshes: second must be a Mesh", dr.compare_meshes, MESH, mesh)
        refused("surface_distance: second must be a SurfaceQuery of a mesh", dr.surface_distance, QUERY, mesh)
    for origin in (None, 3, (1, 2), "abc", (1, 2, "x"), (1.0, 2.0, float("nan")), torch.zeros(2, 3)):
        for read in (dr.read_mesh, dr.read_mesh_parts):
            refused(f"{read.__name__}: origin must be three finite numbers", read, "a.obj", origin=origin)
    for split in (None, "none", ["materials"]):
        refused("read_mesh_parts: split must be 'materials' or 'objects'", dr.read_mesh_parts, "a.obj", split)
    for crease in ("flat", [30], torch.ones(2), True):
        refused("crease_groups: crease_deg must be a number", MESH.with_crease, crease)
    for color in (3, "red", [1, 0, 0], np.ones(3)):
        refused("write_obj: vertex_colors must be a torch.Tensor", dr.write_obj, "a.obj", MESH, color)
        refused("write_ply: colors must be a torch.Tensor or a Texture", dr.write_ply, "a.ply", MESH, color)
        one = [dr.GlbObject("a", MESH, color)]  # type: ignore[arg-type]
        refused("write_glb: base_color of 'a' must be a torch.Tensor or a Texture", dr.write_glb, "a.glb", one)
        refused("Object: material must be a Material, such as Lambert(color)", dr.Object, MESH, color)
    bytes_, red = torch.full((42, 3), 200, dtype=torch.uint8), torch.tensor([1, 0, 0])
    for color in (bytes_, red):
        wanted = "must be floats, linear RGB in 0..1, got"
        refused(f"write_obj: vertex_colors {wanted}", dr.write_obj, "a.obj", MESH, color)
        refused(f"write_ply: colors {wanted}", dr.write_ply, "a.ply", MESH, color)
        refused(f"write_glb: base_color of 'a' {wanted}", dr.write_glb, "a.glb", [dr.GlbObject("a", MESH, color)])
    refused("write_png: image must be floats, linear RGB in 0..1, got", dr.write_png, "a.png", bytes_[None])
    for objects in (None, "a", [BALL], MESH):
        refused("Scene: objects must be a mapping from names to Objects", dr.Scene, objects)
    for objects in (None, 3, {"a": BALL}):
        refused("write_glb: objects must be a list of GlbObject", dr.write_glb, "a.glb", objects)
    for scene in (None, MESH, BALL, {"a": BALL}):
        refused("render: scene must be a Scene", dr.render_scene, scene, None)
    refused("Scene: objects['a'] must be an Object, got Mesh", dr.Scene, {"a": MESH})
    refused("Scene: lights['sun'] must be a Light, got int", dr.Scene, {"a": BALL}, {"sun": 3})
    refused("write_glb: each of objects must be a GlbObject (GlbObject.of(", dr.write_glb, "a.glb", [BALL])
    refused("Mesh: uv_faces must be a torch.Tensor", dr.Mesh, *MADE, uvs=FLAT_UVS, uv_faces=FACES.tolist())
    refused("Mesh: uvs must be float32 or float64", dr.Mesh, *MADE, uvs=FLAT_UVS.long(), uv_faces=FACES)
    refused("Mesh: normal_faces must be int64", dr.Mesh, *MADE, normal_faces=FACES.float())
    refused("Mesh: normal_faces must be at least 0, got -1", dr.Mesh, *MADE, normal_faces=FACES - 1)
    whole = VERTICES.long()
    refused("Mesh: normals must be float32 or float64", dr.Mesh, *MADE, normal_faces=FACES, normals=whole)
    refused("Mesh: crease_deg must be a number, got 'flat'", dr.Mesh, *MADE, crease_deg="flat")
    refused("Mesh: topology must be a Topology, got str", dr.Mesh, *MADE, topology="none")
    refused("remesh: vertices must be a torch.Tensor, got ndarray", dr.remesh, VERTICES.numpy(), FACES, 0.3)
    refused("remesh: target_length must be a number, got 'fine'", dr.remesh, *MADE, "fine")
    refused("remesh: passes must be a whole number, got 1.5", dr.remesh, *MADE, 0.3, passes=1.5)
    refused("remesh: options must be a RemeshOptions, got int", dr.remesh, *MADE, 0.3, options=3)
    refused("compare_meshes: n_samples must be a whole number, got 10.5", dr.compare_meshes, MESH, MESH, 10.5)
    refused("compare_meshes: seed must be a whole number, got 'a'", dr.compare_meshes, MESH, MESH, 10, "a")
    refused("read_capture: options must be a CaptureOptions, got int", dr.read_capture, "here", 3)
    return found


@pytest.mark.parametrize(("function", "arguments", "named", "message"), cases())
def test_a_wrong_type_is_one_sentence(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dr.ShapeError, match=re.escape(message)):
        function(*arguments, **named)
    assert not list(tmp_path.iterdir())  # nothing is half written


def test_a_scene_file_of_a_wrong_type_is_named() -> None:
    with pytest.raises(dr.ConfigError, match="load_config: path must be that of a scene file, got NoneType"):
        dr.load_config(ANY)


def test_numbers_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    for crease in (np.float32(30), np.int64(30), torch.tensor(30.0)):
        assert torch.equal(MESH.with_crease(crease).normal_faces, MESH.with_crease(30).normal_faces)  # type: ignore[arg-type]
    dr.write_obj(tmp_path / "a.obj", MESH)
    for origin in (np.zeros(3), torch.zeros(3), [0, 0, 0]):
        assert torch.equal(dr.read_mesh(str(tmp_path / "a.obj"), origin).mesh.faces, FACES)  # type: ignore[arg-type]
