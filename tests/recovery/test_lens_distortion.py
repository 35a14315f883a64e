"""Distortion that a capture does not tell comes back with the shape."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.shapes import bumpy, placed, scene_of

from diffrender.app.evaluation import match_heldout
from diffrender.config.load import parse_config
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import fit
from diffrender.geometry.orbits import sphere_positions
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.setup.fit_setup import build_fit
from diffrender.writers.capture import write_capture

K1, P1, P2, N_VIEWS, SIZE = 0.05, 0.01, -0.015, 24, 96
SCENE = """
targets: {{path: '{path}', test_every: 8}}
optimize: {{steps: 200, batch_size: 8{more}}}
"""


def photographed(folder: Path) -> Path:
    """A coloured shape, off the middle of most pictures, through a lens off its axis; transforms.json has a pinhole."""
    mesh = bumpy(4)
    scene = scene_of(placed(mesh, Unlit(0.5 + 0.4 * (5 * mesh.vertices).sin())))
    generator = torch.Generator().manual_seed(0)
    eyes = sphere_positions(N_VIEWS, 1.0) * (2.2 + torch.rand(N_VIEWS, 1, generator=generator))
    aims = 0.6 * (torch.rand(N_VIEWS, 3, generator=generator) - 0.5) * 2
    plain = Cameras.perspective(eyes, aims, fov_deg=75, height=SIZE, width=SIZE)
    lens = RadialTangential(*(torch.full((N_VIEWS,), value) for value in (K1, 0.0, P1, P2)))
    views = synthetic_views(scene, replace(plain, projection=lens), 4)
    write_capture(folder, replace(views, cameras=plain))
    content = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps({key: content[key] for key in ("camera_model", "frames")}))
    return folder


def fitted(folder: Path, more: str = "") -> tuple[Cameras, dict[str, float]]:
    """Return the fitted cameras and the scores of held-out views."""
    setup = build_fit(parse_config(SCENE.format(path=folder, more=more), Path()))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    judged = match_heldout(setup, result.scene, refine=False, fitted=result.cameras)
    assert judged is not None
    return result.cameras, evaluate_views(result.scene, judged, setup.render_views)


@pytest.mark.slow
def test_a_distortion_of_a_twentieth_comes_back_with_the_shape(tmp_path: Path) -> None:
    folder = photographed(tmp_path)
    _, without = fitted(folder)
    cameras, scores = fitted(folder, ", cameras.k1: {}, cameras.p1: {}, cameras.p2: {}")
    lens = cameras.projection
    assert isinstance(lens, RadialTangential)
    assert float(lens.k1[0]) == pytest.approx(K1, abs=0.005)
    assert (float(lens.p1[0]), float(lens.p2[0])) == pytest.approx((P1, P2), abs=0.002)
    assert torch.equal(lens.k1, lens.k1[:1].expand_as(lens.k1)) and torch.equal(lens.k2, torch.zeros_like(lens.k2))
    assert scores["mask_iou"] > without["mask_iou"] and scores["psnr_masked_db"] > without["psnr_masked_db"] + 1
