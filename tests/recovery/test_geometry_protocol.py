"""The scene that measures distances to a known shape, at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrender.app.run import run_fit
from diffrender.config.load import load_config

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "geometry_protocol.yaml"
SMALL = {
    "targets.resolution": "128",
    "targets.synthetic.mesh.subdivisions": "4",
    "targets.synthetic.grid": "[4, 2]",
    "optimize.steps": "60",
    "optimize.resolution": "null",
    "optimize.mesh.vertices.remesh.shortest": "0.03",
    "progress.pictures": "0",
}


def test_a_coarse_sphere_becomes_the_target(tmp_path: Path) -> None:
    config = load_config(SCENE, [f"{key}={value}" for key, value in SMALL.items()])
    metrics = run_fit(config, "protocol", out=tmp_path).metrics
    geometry = metrics["geometry"]
    assert metrics["initial"]["geometry"]["rms_to_target"] > 0.1
    # A pixel is 0.016 wide at the object.
    assert geometry["rms_to_target"] < 0.002
    assert geometry["watertight"] and geometry["self_intersections"] == 0
    assert (geometry["components"], geometry["genus"]) == (1, 0)
    assert geometry["n_vertices"] > 1000
    assert metrics["phase_s"]["remesh"] > 0
