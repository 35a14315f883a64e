"""Synthetic targets whose cameras are not those that the fit is told, and whose pictures are noisy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.small_runs import run_small

from diffrender.config.load import parse_config
from diffrender.config.options.targets import CameraErrorOptions
from diffrender.geometry.rotations import rotation_angle
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.synthetic_cameras import true_cameras, with_noise

SCENE = """
targets:
  resolution: 32
  test_every: 4
  masks: false  # by which cameras would be aimed
  synthetic:
    views: 5
    mesh: {init: bumpy, subdivisions: 2}
    material: {type: unlit, base_color: own}
    samples: 4
    MORE
mesh: {init: bumpy, subdivisions: 2}
material: {type: unlit, base_color: own}
optimize: {steps: 2, mesh.vertices: off, material.base_color: off, cameras.pose: {}, cameras.focal: {}, cameras.k1: {}}
loss: {mask: null}
progress: {pictures: 0, video: false, turntable: false}
export: []
"""
ERRORS = "camera_errors: {focal: 1.1, center: [0.05, -0.1], k1: -0.1, turn_deg: 3, shift: 0.02}"


def built(more: str, folder: Path) -> FitSetup:
    return build_fit(parse_config(SCENE.replace("MORE", more), folder))


def test_cameras_are_off_by_what_is_asked_for_each_in_its_own_way() -> None:
    eyes = torch.tensor([[3.0, 0.2, 0.0], [0.0, 0.5, 4.0], [1.0, 1.0, -2.0]])
    told = Cameras.perspective(eyes, (0.3, 0.0, 0.0), fov_deg=40, height=50, width=80)
    options = CameraErrorOptions(focal=1.1, center=(0.05, -0.1), k1=-0.1, turn_deg=3, shift=0.02)
    true = true_cameras(told, options, (0.3, 0.0, 0.0))
    assert torch.allclose(true.focal_px, 1.1 * told.focal_px)
    assert torch.allclose(true.center_px - told.center_px, torch.tensor([4.0, -8.0]))
    assert isinstance(true.projection, RadialTangential) and true.projection.k1.tolist() == pytest.approx([-0.1] * 3)
    turn = true.cam_from_world[:, :3, :3] @ told.cam_from_world[:, :3, :3].mT
    assert torch.rad2deg(rotation_angle(turn, torch.eye(3).expand(3, 3, 3))).tolist() == pytest.approx(
        [3] * 3, abs=1e-3
    )
    # What they look at is seen elsewhere by that share of its distance, in three directions.
    middle = torch.tensor([0.3, 0.0, 0.0, 1.0])
    seen = [(each.cam_from_world @ middle)[:, :3] for each in (told, true)]
    shift = (seen[1] - seen[0]) / seen[0].norm(dim=1, keepdim=True)
    assert shift.norm(dim=1).tolist() == pytest.approx([0.02] * 3, rel=1e-3)
    assert float(torch.linalg.matrix_rank(shift, tol=1e-3)) == 3
    assert true_cameras(told, None, (0.0, 0.0, 0.0)) is told


def test_the_fit_is_told_others_and_the_truth_is_kept(tmp_path: Path) -> None:
    plain, setup = built("", tmp_path), built(ERRORS, tmp_path)
    told, true = setup.fit_views.cameras, setup.target_cameras
    assert true is not None and plain.target_cameras is not None
    # Those of the views that are not held out.
    assert len(true) == len(told) == 3
    assert torch.equal(told.cam_from_world, plain.fit_views.cameras.cam_from_world)
    assert torch.equal(plain.target_cameras.cam_from_world, told.cam_from_world)
    assert not torch.allclose(true.cam_from_world, told.cam_from_world, atol=1e-2)
    assert not torch.allclose(setup.fit_views.images, plain.fit_views.images, atol=0.1)


def test_a_run_tells_how_far_its_cameras_are_off(tmp_path: Path) -> None:
    result, _ = run_small(SCENE.replace("MORE", ERRORS), tmp_path)
    errors = result.metrics["camera_errors"]
    assert errors["cameras.pose"]["start"]["turn_deg"] == pytest.approx(3, abs=1e-3)
    focal = 0.1 * float(result.fit.cameras.height) / 2 / torch.tan(torch.deg2rad(torch.tensor(20.0)))
    assert errors["cameras.focal"]["start"]["off"] == pytest.approx(float(focal), rel=1e-3)
    assert errors["cameras.k1"]["start"]["off"] == pytest.approx(0.1)
    assert errors["cameras.pose"]["found"] != errors["cameras.pose"]["start"]
    page = (result.folder / "report.html").read_text()
    found = errors["cameras.pose"]["found"]
    assert f"off by {found['turn_deg']:.2g} degrees and {found['position']:.2g} on average" in page


def test_noise_has_its_deviation_in_srgb_everywhere_and_follows_the_seed() -> None:
    images = torch.tensor([0.0, 0.02, 0.5, 1.0])[:, None, None, None].expand(4, 64, 64, 3)
    noise = srgb_from_linear(with_noise(images, 0.03, 1)) - srgb_from_linear(images)
    assert noise.std((1, 2, 3)).tolist() == pytest.approx([0.03] * 4, rel=0.03)
    assert noise.mean((1, 2, 3)).tolist() == pytest.approx([0] * 4, abs=0.001)
    assert torch.equal(with_noise(images, 0.03, 1), with_noise(images, 0.03, 1))
    assert not torch.equal(with_noise(images, 0.03, 1), with_noise(images, 0.03, 2))
    assert with_noise(images, 0.0, 1) is images
