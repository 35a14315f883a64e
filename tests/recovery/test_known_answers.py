"""Fits with a known answer recover it from a fixed seed within a stated error."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from diffrender.config.load import parse_config
from diffrender.evaluate.geometry import GeometryEvaluator
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.fill_unseen_texels import find_seen_texels
from diffrender.fit.loop import FitResult, fit
from diffrender.geometry.primitives import bumpy_sphere
from diffrender.geometry.rotations import axis_angle_to_matrix, rotation_angle
from diffrender.imaging.inpaint import fill_nearest
from diffrender.imaging.metrics import psnr_db
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.threads import threads_to_kernels
from diffrender.writers.meshes.obj import write_obj

POSE = """
targets:
  resolution: 64
  test_every: null
  synthetic:
    views: 1
    radius: 3.6
    elevation_deg: [25, 25]
    mesh: {init: bumpy, subdivisions: 3}
    material: {type: lambert, base_color: own}
    lights: &lights [{type: directional, direction: [-1, -1, -0.6], radiance: 2.2}, {type: ambient, radiance: 0.35}]
    pose: {translation: [0.15, 0.1, 0.0], rotation: {axis: [0.3, 1, 0.2], degrees: 20}}
mesh: {init: bumpy, subdivisions: 3}
material: {type: lambert, base_color: own}
lights: *lights
pose: {translation: [-0.1, 0.0, 0.0]}
optimize: {steps: 120, pose: {lr: 0.02, schedule: cosine}}
loss: {image: {type: pyramid, levels: 4}, mask: null}
"""
SHAPE = """
targets: {resolution: 64, synthetic: {mesh: {init: bumpy, subdivisions: 3}, views: 12, samples: 4}}
mesh: {subdivisions: 3}
optimize: {steps: 200, mesh.vertices: {schedule: cosine}, material.base_color: {schedule: cosine}}
"""
REMESHED = """
targets:
  resolution: 96
  test_every: null
  synthetic:
    {mesh: {init: bumpy, subdivisions: 5}, normalize: true, grid: [4, 4], radius: 10, fov_deg: 11.6, samples: 4}
mesh: {init: sphere, subdivisions: 1, radius: 0.5, center: [0, 0, 0]}
material: {type: unlit, base_color: 0.5}
optimize: {steps: 80, batch_size: 8, mesh.vertices: {method: METHOD, remesh: {shortest: 0.06}}}
loss: {image: null, mask: {type: l1, weight: 1}, normal: 1}
"""
LIGHT = """
targets:
  resolution: 48
  synthetic:
    views: 6
    mesh: {init: sphere, subdivisions: 3, center: [0, 0, 0], radius: 1}
    material: {type: lambert, base_color: [0.7, 0.4, 0.2]}
    lights:
      - {name: key, type: directional, direction: [-1, -2, -1], radiance: 2.5}
      - {name: sky, type: ambient, radiance: 0.3}
mesh: {init: sphere, subdivisions: 3, center: [0, 0, 0], radius: 1}
material: {type: lambert, base_color: [0.7, 0.4, 0.2]}
lights:
  - {name: key, type: directional, direction: [1, -2, 0], radiance: 1.5}
  - {name: sky, type: ambient, radiance: 0.6}
optimize:
  steps: 150
  mesh.vertices: off
  material.base_color: off
  lights.key.direction: {lr: 0.05, schedule: cosine}
  lights.key.radiance: {lr: 0.05, schedule: cosine}
  lights.sky.radiance: {lr: 0.05, schedule: cosine}
"""
TEXTURE = """
targets:
  resolution: 96
  synthetic:
    views: 20
    samples: 6
    mesh: painted.obj
    material: {type: lambert, base_color: own}
    lights: &lights [{type: directional, direction: [-1, -1, -0.6], radiance: 1.5}, {type: ambient, radiance: 0.5}]
mesh: painted.obj
material: {type: lambert, base_color: {texture: 0.5, resolution: 128}}
lights: *lights
optimize: {steps: 150, material.base_color: {lr: 0.1, schedule: {type: exponential, final: 0.1}}}
loss: {image: l1}
"""


def fitted(text: str, folder: Path = Path()) -> tuple[FitSetup, FitResult]:
    with threads_to_kernels(2):
        setup = build_fit(parse_config(text, folder))
        result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    assert result.stop_reason == "finished"
    return setup, result


def test_the_pose_of_a_known_object_from_one_picture() -> None:
    setup, result = fitted(POSE)
    axis = torch.nn.functional.normalize(torch.tensor([0.3, 1.0, 0.2]), dim=0)
    turn, place = axis_angle_to_matrix(axis * math.radians(20)), torch.tensor([0.15, 0.1, 0.0])
    start, found = (scene.objects["object"].pose for scene in (setup.scene, result.scene))
    assert math.degrees(float(rotation_angle(start[:3, :3], turn))) > 19
    angle = math.degrees(float(rotation_angle(found[:3, :3], turn)))
    off = float((found[:3, 3] - place).norm())
    assert angle < 0.2
    assert off < 0.006


def test_shape_and_colours_from_a_sphere() -> None:
    setup, result = fitted(SHAPE)
    assert setup.heldout_views is not None
    first, last = (
        evaluate_views(scene, setup.heldout_views, setup.render_views) for scene in (setup.scene, result.scene)
    )
    assert first["mask_iou"] < 0.7
    assert last["mask_iou"] > 0.97
    assert last["psnr_db"] > 28


def test_the_light_on_a_known_object() -> None:
    _, result = fitted(LIGHT)
    key, sky = result.scene.lights["key"], result.scene.lights["sky"]
    way = torch.nn.functional.normalize(torch.tensor([-1.0, -2.0, -1.0]), dim=0)
    angle = math.degrees(math.acos(float((torch.nn.functional.normalize(key.direction, dim=0) * way).sum())))
    assert angle < 0.1
    torch.testing.assert_close(key.radiance, torch.full((3,), 2.5), rtol=1e-3, atol=0)
    torch.testing.assert_close(sky.radiance, torch.full((3,), 0.3), rtol=1e-3, atol=0)


@pytest.mark.slow
def test_the_texture_of_a_known_object(tmp_path: Path) -> None:
    """Stripes finer than the triangles are recovered and appear in a held-out view."""
    mesh = unwrap_mesh(Mesh(*bumpy_sphere(3)), 128)
    texels_of = texel_map(mesh, 128, 128)
    points = texels_of.values(mesh.vertices, mesh.faces)
    truth = torch.zeros(128, 128, 3)
    truth[texels_of.covered] = 0.5 + 0.35 * torch.sin(points * torch.tensor([9.0, 12.0, 15.0]))
    write_obj(tmp_path / "painted.obj", mesh, texture=Texture(fill_nearest(truth, texels_of.covered)))

    setup, result = fitted(TEXTURE, tmp_path)
    item = result.scene.objects["object"]
    found = item.material.base_color  # type: ignore[attr-defined]
    seen = find_seen_texels(result.scene, "object", found, result.cameras, setup.render_views) & texels_of.covered
    assert float(seen.sum() / texels_of.covered.sum()) > 0.9
    assert float(psnr_db(found.texels, truth, seen.float())) > 37
    assert setup.heldout_views is not None
    assert evaluate_views(result.scene, setup.heldout_views, setup.render_views)["psnr_masked_db"] > 40


@pytest.mark.slow
@pytest.mark.parametrize("method", ["identity", "large_steps"])
def test_a_shape_from_a_coarse_sphere_that_is_remeshed(method: str) -> None:
    setup, result = fitted(REMESHED.replace("METHOD", method))
    assert setup.scene.objects["object"].mesh.n_vertices == 42
    evaluator = GeometryEvaluator(setup.target_scene)
    first, last = (evaluator.report(scene) for scene in (setup.scene, result.scene))
    assert first.surface_rms_to_target is not None and last.surface_rms_to_target is not None
    assert first.surface_rms_to_target > 0.15
    assert last.surface_rms_to_target < 0.004
    assert last.whole.watertight and last.whole.self_intersections == 0
    assert 1500 < last.whole.n_vertices < 3500
    assert last.whole.smallest_angle_deg > 20
