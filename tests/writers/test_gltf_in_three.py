"""What we write as glTF, as three.js loads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.material_kinds import exported_objects

from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.shading_points import VertexFrames
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.scene import GlbObject, write_glb

PACKAGES = Path(os.environ.get("GLTF_VALIDATOR", "."))
SCRIPT = Path(__file__).parents[2] / "scripts" / "validate_gltf.mjs"
POSE = make_rigid(axis_angle_to_matrix(torch.tensor([0.3, -0.8, 1.1])), torch.tensor([3.0, -2.0, 0.5]))
OBJECTS = {
    name: replace(
        item, mesh=item.mesh.with_crease(20 if "normal" in name else None), pose=POSE, scale=torch.tensor(0.4)
    )
    for name, item in exported_objects().items()
}


def at_corners(mesh: dict[str, Any], name: str) -> np.ndarray:
    """Return an attribute of three.js at the corners of the triangles, [F, 3, C]."""
    attribute = mesh["attributes"][name]
    return np.array(attribute["values"]).reshape(-1, attribute["size"])[np.array(mesh["indices"]).reshape(-1, 3)]


def assert_color(mesh: dict[str, Any], item: Object, color: SurfaceValue) -> None:
    assert ("map" in mesh["material"]["maps"]) == isinstance(color, Texture)
    if isinstance(color, Texture):
        return
    factor = np.array(mesh["material"]["color"])
    shown = at_corners(mesh, "color")[:, :, :3] * factor if mesh["material"]["vertexColors"] else factor
    wanted = color if color.dim() == 1 else color[item.mesh.faces]
    np.testing.assert_allclose(shown, wanted.numpy(), rtol=0, atol=1e-5)


@pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGES / "node_modules" / "three").is_dir(),
    reason="needs node, and the npm package three in the folder that GLTF_VALIDATOR names",
)
def test_three_js_loads_what_was_written(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", [GlbObject.of(name, item) for name, item in OBJECTS.items()])
    command = ["node", SCRIPT, "--three", tmp_path / "a.glb"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GLTF_VALIDATOR": str(PACKAGES)})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = {mesh["name"]: mesh for mesh in json.loads(done.stdout)}
    assert list(found) == list(OBJECTS)
    for name, item in OBJECTS.items():
        mesh, material = found[name], found[name]["material"]
        world = np.array(mesh["world"]).reshape(4, 4).T  # by columns
        positions = at_corners(mesh, "position") @ world[:3, :3].T + world[:3, 3]
        np.testing.assert_allclose(positions, item.vertices_w()[item.mesh.faces].numpy(), rtol=0, atol=1e-5)
        frames = VertexFrames(item.mesh, item.mesh.vertices)
        normals = frames.normals_w[frames.normal_faces].numpy()
        np.testing.assert_allclose(at_corners(mesh, "normal"), normals, rtol=0, atol=1e-5)
        surface = item.material.to_gltf()
        if item.mesh.uvs is not None:
            uvs = item.mesh.uvs[item.mesh.uv_faces].numpy()
            np.testing.assert_allclose(at_corners(mesh, "uv"), uvs, rtol=0, atol=1e-6)
        assert_color(mesh, item, surface.base_color)
        assert (material["type"] == "MeshBasicMaterial") == surface.unlit
        assert ("normalMap" in material["maps"]) == (surface.normal is not None)
        for ours, theirs in (("metallic", "metalness"), ("roughness", "roughness")):
            value = getattr(surface, ours)
            is_uniform = not isinstance(value, Texture) and value.dim() == 1
            assert surface.unlit or (f"{theirs}Map" in material["maps"]) == (not is_uniform)
            if is_uniform and not surface.unlit:
                assert material[theirs] == pytest.approx(float(value), abs=1e-6)
