"""What defaults make of pictures: colours are learned as they look, in the sun too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.small_runs import run_small

from diffrender.geometry.primitives import icosphere
from diffrender.scene.mesh import Mesh
from diffrender.setup import best_defaults
from diffrender.writers.meshes.obj import write_obj

TEXT = """
targets: {{resolution: {side}, test_every: null, synthetic: {{views: {views}, {shown}}}}}
optimize: {{steps: {steps}}}
progress: {{pictures: 0, video: false, turntable: false}}
export: [obj]
"""
SUN = "{type: directional, direction: [-0.4, -1, -0.6], radiance: 2}, {type: ambient, radiance: 0.4}"
SUNNY = f"mesh: {{init: box}}, material: {{type: lambert, base_color: [0.7, 0.4, 0.2]}}, lights: [{SUN}]"
PAINTED = "mesh: {init: bumpy, subdivisions: 5}, material: {type: unlit, base_color: own}"


@pytest.mark.parametrize(
    ("target", "most"),
    [
        (SUNNY, 0.011),  # 0.0081; without normal_consistency 0.018, with ten times as much 0.0145
        (PAINTED, 0.0022),  # 0.0017; 0.0091, 0.0025
    ],
    ids=["a box in the sun", "a painted ball with bumps"],
)
def test_defaults_keep_surfaces_smooth_and_edges_sharp(tmp_path: Path, target: str, most: float) -> None:
    result, _ = run_small(TEXT.format(side=96, views=16, steps=100, shown=target), tmp_path)
    metrics = json.loads((result.folder / "metrics.json").read_text())
    geometry = metrics["geometry"]
    assert geometry["surface_rms_to_target"] < most
    assert geometry["self_intersections"] == geometry["folded_faces"] == 0
    assert metrics["verdict"] == "good" and metrics["fit"]["mask_iou"] > 0.99


def test_thin_parts_stay_where_first_images_are_a_quarter_as_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of photographs of 800 pixels and a cow's horns: 38.0 dB inside the mask, and 27.1 while edges were shorter
    than pixels of the first images."""
    monkeypatch.setattr(best_defaults, "SHAPE_SIDE", 80)
    monkeypatch.setattr(best_defaults, "FEWEST_FACES", 800)
    ball = icosphere(5)
    unit = torch.nn.functional.normalize(ball.vertices.float(), dim=1)
    tips = torch.tensor([[1, 0.2, 0.1], [-0.6, 0.8, 0.2], [0, -0.3, 1], [0.1, 0.9, -0.5], [-0.8, -0.4, -0.5]])
    apart = torch.cdist(unit, torch.nn.functional.normalize(tips, dim=1))
    radius = 0.5 + 0.5 * torch.exp(-((apart / 0.12) ** 2)).sum(1, keepdim=True)
    write_obj(tmp_path / "spikes.obj", Mesh(unit * radius, ball.faces))
    shown = "mesh: spikes.obj, material: {type: unlit, base_color: [0.8, 0.5, 0.2]}"
    result, _ = run_small(TEXT.format(side=320, views=12, steps=200, shown=shown), tmp_path)
    metrics = json.loads((result.folder / "metrics.json").read_text())
    # .989 and .0036; with edges of the length of full-size pixels from the first step .974 and .0098.
    assert metrics["fit"]["mask_iou"] > 0.982 and metrics["geometry"]["surface_rms_to_target"] < 0.006
    # Of so few steps the last 25, at full size, are told to be too few; but the end is the best state.
    assert metrics["geometry"]["self_intersections"] == metrics["geometry"]["folded_faces"] == 0
    assert "went_back" not in [reason["key"] for reason in metrics["reasons"]]
