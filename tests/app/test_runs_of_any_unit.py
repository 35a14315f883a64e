"""A run in nanometres ends as one in metres does: its verdict, and its turntable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.planted import capture
from support.small_runs import run_small

SCENE = """
targets: {path: capture, test_every: null}
mesh: {init: sphere, subdivisions: 2}
material: {type: lambert, base_color: 0.5}
lights: [{name: bulb, type: point, position: [0, 0, 0], intensity: 1, frame: camera}]
optimize: {steps: 4, mesh.vertices: {}, cameras.pose: {}}
progress: {pictures: 0, video: false}
export: []
"""


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_any_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    shown: list[np.ndarray] = []
    monkeypatch.setattr("diffrender.app.turntable.write_video", lambda frames, *_: shown.extend(frames))
    (tmp_path / "temporary").mkdir()
    pictures = capture(tmp_path / "temporary")
    pictures.poses[:, :3, 3] *= size
    pictures.write(tmp_path / "capture")
    result, _ = run_small(SCENE.replace("intensity: 1", f"intensity: {20 * size**2}"), tmp_path)
    assert "never_moved" not in [reason["key"] for reason in result.metrics["reasons"]]
    assert min(frame.any(-1).mean() for frame in shown) > 0.2
