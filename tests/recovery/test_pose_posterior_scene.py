"""scenes/pose_posterior.yaml, small, drawn fifty times: its intervals hold what is true as often as they say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from support.drawn_scenes import REACH, errors_in_deviations

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "pose_posterior.yaml"
SMALL = (
    "targets.resolution=48",
    "targets.synthetic.samples=6",
    "targets.synthetic.objects.it.mesh.subdivisions=3",
    "objects.it.mesh.subdivisions=3",
    "targets.synthetic.noise=0.05",
)


def test_intervals_hold_the_true_pose_as_often_as_they_say() -> None:
    errors, sizes = errors_in_deviations(SCENE, 50, SMALL)
    # Of 300 numbers, of which those of a fit depend on each other: deviations 1.4 times too small hold 52 and 84 %.
    for share, low, high in ((0.68, 0.60, 0.77), (0.95, 0.88, 0.99)):
        inside = float((errors.abs() < REACH[share]).double().mean())
        assert low < inside < high, (share, inside)
    # No number is off to one side: the mean of 50 errors of 1 is .14.
    assert float(errors.mean(0).abs().max()) < 0.5
    # All six together, with their correlations: 6, give or take .5.
    assert 4.5 < float(sizes.mean()) < 8


def test_the_script_prints_how_often(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [part for each in SMALL for part in ("--set", each)]
    monkeypatch.setattr(sys, "argv", ["check_intervals.py", str(SCENE), "--draws", "2", *overrides])
    runpy.run_path(str(SCENE.parents[1] / "scripts" / "check_intervals.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("68% intervals hold ") and lines[1].startswith("95% intervals hold ")
    assert lines[0].count(",") == 5 and lines[-1].endswith(" of 6 expected")
