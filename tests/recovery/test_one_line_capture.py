"""What defaults make of pictures: colours are learned as they look, in the sun too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.small_runs import run_small

TEXT = """
targets: {{resolution: 96, test_every: null, synthetic: {{views: 16, {}}}}}
optimize: {{steps: 100}}
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
    result, _ = run_small(TEXT.format(target), tmp_path)
    metrics = json.loads((result.folder / "metrics.json").read_text())
    geometry = metrics["geometry"]
    assert geometry["surface_rms_to_target"] < most
    assert geometry["self_intersections"] == geometry["folded_faces"] == 0
    assert metrics["verdict"] == "good" and metrics["fit"]["mask_iou"] > 0.99
