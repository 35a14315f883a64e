"""scripts/measure_basin.py: its meshes show how they are turned; near starts come back, which it prints."""

from __future__ import annotations

import itertools
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from diffrender.geometry.rotations import axis_angle_to_matrix

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_basin.py"


@pytest.mark.parametrize("name", ["knot", "bracket"])
def test_its_meshes_face_outwards_and_have_no_symmetry(name: str) -> None:
    vertices, faces, colors = (each.double() for each in runpy.run_path(str(SCRIPT))["MADE"][name]())
    corners = vertices[faces.long()]
    assert float(torch.linalg.det(corners).sum()) > 0  # six times the volume
    assert vertices.norm(dim=1).max() < 1.5 and colors.min() >= 0 and colors.max() <= 1
    # Turned about its axes of inertia, which an axis of symmetry would be, it looks different, in shape or colour.
    centered = vertices - vertices.mean(0)
    axes = torch.linalg.eigh(centered.T @ centered).eigenvectors.T
    for axis, degrees in itertools.product(axes, (120.0, 180.0)):
        turned = centered @ axis_angle_to_matrix(torch.deg2rad(torch.tensor(degrees)) * axis).T
        apart = torch.cdist(torch.cat([turned, colors], 1), torch.cat([centered, colors], 1))
        assert apart.amin(1).mean() > 0.1


@pytest.mark.slow
def test_the_script_prints_how_many_come_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--starts", "2", "--meshes", "bumpy", "--ways", "lm, antialias", "lm, soft"]
    monkeypatch.setattr(sys, "argv", ["measure_basin.py", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| mesh | off by | lm, antialias | lm, soft |"
    assert [re.match(r"\| bumpy \| (\d+)°", row)[1] for row in rows] == ["1", "10", "40"]  # type: ignore[index]
    assert re.fullmatch(r"\| bumpy \| 1°, 0.01 \| 100%, [\d.]+ s \| 100%, [\d.]+ s \|", rows[0])
