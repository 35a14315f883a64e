"""After `diffrender warmup` nothing is left to compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Shape, colors and light of one mesh, as in scenes/quickstart.yaml.
QUICKSTART = (ROOT / "scenes" / "quickstart.yaml").read_text(encoding="utf-8")
SMALLER = ("--steps=3", "--set=targets.resolution=32", "--set=mesh.subdivisions=2")
# What else a fit can meet: a visual hull, remeshing, textures, a metal, a sky, a shadow, soft edges, normals.
RICH = """
targets:
  resolution: 32
  synthetic:
    mesh: {init: bumpy, subdivisions: 3}
    material: {type: ggx, base_color: own, roughness: 0.4}
    lights: &lights [{name: sky, type: environment, radiance: 0.5}, {name: sun, type: directional, shadow: true}]
    views: 6
    samples: 2
mesh: {init: visual_hull}
material: {type: ggx, base_color: {texture: 0.5, resolution: 32}, roughness: {texture: 0.5, resolution: 32}}
lights: *lights
render: {edges: soft}
optimize:
  steps: 4
  mesh.vertices: {remesh: {every: 2}}
  material.base_color:
  material.roughness:
  lights.sky.radiance:
  lights.sun.direction:
loss: {image: l1, mask: 1, normal: 0.1}
"""

# Every op of forward mode.
TANGENTS = """
import torch
from support.material_kinds import cameras, exported_objects, lit_scene
from diffrender.render.edge_models import Soft
from diffrender.render.render import render
from diffrender.scene.parameter_paths import get_value, learnable_paths, replace_values
for name in ("ggx_texture", "lambert_vertex"):
    scene, views = lit_scene(exported_objects()[name]), cameras(16)
    paths = learnable_paths(scene, views)
    values = tuple(get_value(scene, views, path) for path in paths)
    draw = lambda *values: render(*replace_values(scene, views, dict(zip(paths, values))), Soft()).image
    torch.func.jvp(draw, values, values)
"""


@pytest.mark.slow
def test_nothing_compiles_after_warmup(tmp_path: Path) -> None:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPATH": paths}

    def kernels_after(*arguments: str, run: tuple[str, ...] = ("-m", "diffrender.app.cli")) -> set[str]:
        """The compiled kernels on disk, a file each, after a command in a process of its own."""
        command = [sys.executable, *run, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.nbc")}

    warm = kernels_after("warmup")
    assert len(warm) > 100
    (tmp_path / "quickstart.yaml").write_text(QUICKSTART)
    (tmp_path / "rich.yaml").write_text(RICH)
    assert kernels_after("fit", "quickstart.yaml", *SMALLER) - warm == set()
    assert kernels_after("fit", "rich.yaml") - warm == set()
    assert kernels_after(TANGENTS, run=("-c",)) - warm == set()
