"""Runs of a mesh file whose materials cut one surface into parts, each with its own texture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.small_runs import raise_after, run_small

from diffrender.geometry.primitives import icosphere
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.scene import GlbObject, write_glb

SCENE = """
targets: {resolution: 32, synthetic: {mesh: {init: bumpy, subdivisions: 2}, views: 5, samples: 2}}
mesh: ball.glb
loss: {image: l1, laplacian: 0.1, normal_consistency: 0.1}
optimize: {steps: 8, batch_size: 2, mesh.vertices: {schedule: cosine}, material.base_color: {lr: 0.05}}
progress: {pictures: 2, views: 2, video: false, turntable: false}
"""

PARTS = ("top", "bottom")
REMESHED = "optimize.mesh.vertices.remesh={every: 2, shortest: 0.2, longest: 0.4, stop: 7, subdivide: true}"
UNWRAPPED = REMESHED.replace("stop", "unwrap: true, stop")


def write_ball(folder: Path) -> None:
    """Write a ball of two materials, each with a gray texture."""
    vertices, faces = icosphere(2)
    is_top = vertices[faces].mean(1)[:, 1] > 0.2
    objects = []
    for name, level, own in (("top", 0.6, is_top), ("bottom", 0.3, ~is_top)):
        used, corners = faces[own].unique(return_inverse=True)
        mesh = unwrap_mesh(Mesh(vertices[used], corners), 16)
        objects.append(GlbObject(name, mesh, Texture(torch.full((16, 16, 3), level)), unlit=True))
    write_glb(folder / "ball.glb", objects)


@pytest.mark.parametrize("overrides", [(), (REMESHED,)], ids=["one mesh", "remeshed"])
def test_a_resumed_run_of_parts_ends_as_if_it_had_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    states, files = [], []
    for folder in ("whole", "resumed"):
        (tmp_path / folder).mkdir()
        write_ball(tmp_path / folder)
    whole, _ = run_small(SCENE, tmp_path / "whole", *overrides)
    raise_after(monkeypatch, 5)
    begun, _ = run_small(SCENE, tmp_path / "resumed", *overrides)
    resumed, _ = run_small(SCENE, tmp_path / "resumed", *overrides, resume=begun.folder)
    assert begun.fit.stop_reason == "interrupted" and resumed.fit.steps_done == 8
    for result in (whole, resumed):
        states.append(torch.load(result.folder / "checkpoints" / "last.pt"))
        names = ("final.glb", *(f"final_{name}_obj/final_{name}.{end}" for name in PARTS for end in ("obj", "png")))
        files.append([(result.folder / "mesh" / name).read_bytes() for name in names])
    assert list(states[0]["latents"]) == [
        "objects.top.mesh.vertices",
        "objects.top.material.base_color",
        "objects.bottom.material.base_color",
    ]
    assert bool(states[0]["meshes"]) == bool(overrides)
    assert_same(*states)
    assert files[0] == files[1]


def assert_same(first: object, second: object) -> None:
    """Assert that two saved states are equal bit for bit."""
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor) and torch.equal(first, second)
    elif isinstance(first, dict):
        assert isinstance(second, dict) and list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    else:
        assert first == second


@pytest.mark.parametrize("overrides", [(), (REMESHED,), (UNWRAPPED,)], ids=["one mesh", "remeshed", "unwrapped"])
def test_textured_parts_are_exported_as_they_were_fitted(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    write_ball(tmp_path)
    result, _ = run_small(SCENE, tmp_path, *overrides)
    fitted = result.fit.scene
    seen = render(fitted, result.fit.cameras, Hard()).rgba
    assert float(fitted.objects["top"].material.base_color.texels.std()) > 0.01
    assert result.metrics["export"]["glb_psnr_db"] > 45
    glb = read_mesh_parts(result.folder / "mesh" / "final.glb")
    obj = {}
    for name in PARTS:
        obj[name] = read_mesh(result.folder / "mesh" / f"final_{name}_obj" / f"final_{name}.obj")
    assert list(glb) == list(PARTS)
    for parts in (glb, obj):
        assert all(part.texture is not None and not part.all_notes for part in parts.values())
        again = Scene({name: Object(part.mesh, Unlit(part.texture)) for name, part in parts.items()})
        difference = render(again, result.fit.cameras, Hard()).rgba - seen
        assert float(difference.square().mean().log10() * -10) > 45
    # A run that starts from the file has the same parts.
    (tmp_path / "again").mkdir()
    text = SCENE.replace("ball.glb", str(result.folder / "mesh" / "final.glb")).replace("steps: 8", "steps: 1")
    again, _ = run_small(text, tmp_path / "again")
    assert list(again.fit.scene.objects) == list(PARTS)
    assert len({item.part_of for item in again.fit.scene.objects.values()}) == 1
