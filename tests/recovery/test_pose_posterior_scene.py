"""scenes/pose_posterior.yaml, small, drawn fifty times: its intervals hold what is true as often as they say."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "pose_posterior.yaml"
SCRIPT = SCENE.parents[1] / "scripts" / "check_intervals.py"
SMALL = (
    "targets.resolution=48",
    "targets.synthetic.samples=6",
    "targets.synthetic.objects.it.mesh.subdivisions=3",
    "objects.it.mesh.subdivisions=3",
    "targets.synthetic.noise=0.05",
)


def test_intervals_hold_the_true_pose_as_often_as_they_say() -> None:
    found = runpy.run_path(str(SCRIPT))["errors_in_deviations"](SCENE, 50, SMALL)
    # Of 300 numbers, of which those of a fit depend on each other: deviations 1.4 times too small hold 52 and 84 %.
    for share, low, high in ((0.68, 0.60, 0.77), (0.95, 0.88, 0.99)):
        inside = float(found.inside(share).double().mean())
        assert low < inside < high, (share, inside)
    # No number is off to one side: the mean of 50 errors of 1 is .14.
    assert float(found.errors.mean(0).abs().max()) < 0.5
    # All six together, with their correlations: 6, give or take .5.
    assert 4.5 < float(found.sizes.mean()) < 8


def test_the_script_prints_how_often(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [part for each in SMALL for part in ("--set", each)]
    monkeypatch.setattr(sys, "argv", ["check_intervals.py", str(SCENE), "--draws", "2", *overrides])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("68% intervals hold ") and lines[1].startswith("95% intervals hold ")
    assert lines[0].count(",") == 5 and lines[-1].endswith(" of 6 expected")


def test_the_script_makes_every_row_of_the_table() -> None:
    page = (SCENE.parent / "README.md").read_text(encoding="utf-8")
    rows = runpy.run_path(str(SCRIPT))["ROWS"]
    _, section = page.split("## How certain")
    printed = re.findall(r"^\| ([^|]+) \| \d+ % \|", section.split("\n## ")[0], re.MULTILINE)
    assert printed == [row.words for row in rows] and len(rows) == 6


@pytest.mark.parametrize(("scene", "numbers"), [("calibration", 4), ("robot_arm", 5)])
def test_rows_of_cameras_and_robots_are_printed(scene: str, numbers: int, capsys: pytest.CaptureFixture[str]) -> None:
    if scene == "robot_arm":
        pytest.importorskip("pytorch_kinematics", reason="pip install 'diffrender[robots]'")
    script = runpy.run_path(str(SCRIPT))
    small = ("targets.resolution=80", "render.edges.anneal.sigma=[4, 0.5]")
    (row,) = (row for row in script["ROWS"] if row.scene == scene)
    script["print_table"]([row._replace(draws=2, overrides=small)])
    line = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(rf"\| (.*) \| \d+ % \| \d+ % \| ([\d.]+) of {numbers} \|", line)
    # Squares add up to their number, give or take, where errors are as large as they are said to be.
    assert found is not None and found[1] == row.words and 0.1 * numbers < float(found[2]) < 20
