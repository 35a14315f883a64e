from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from diffrender.app.cli import app

ROOT = Path(__file__).parents[2]
SCENE = """
targets: {resolution: 16, synthetic: {mesh: {init: bumpy, subdivisions: 1}, views: 4, samples: 1}}
mesh: {subdivisions: 1}
optimize: {steps: 3, mesh.vertices: 0.01}
progress: {pictures: 1, views: 1, video: false, turntable: false}
export: [obj]
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SCENE)
    return tmp_path / "tiny.yaml"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["fit", *map(str, arguments)])


def test_options_are_put_over_the_scene_file(scene: Path) -> None:
    out = scene.parent / "out"
    result = invoke(
        scene, "--out", out, "--steps", 2, "--seed", 7, "--device", "cpu", "--set", "optimize.mesh.vertices.lr=2e-3"
    )
    assert result.exit_code == 0, result.output
    resolved = (out / "tiny" / "latest" / "scene.resolved.yaml").read_text()
    for line in ("steps: 2", "seed: 7", "device: cpu", "lr: 0.002"):
        assert line in resolved
    assert json.loads((out / "tiny" / "latest" / "manifest.json").read_text())["steps_done"] == 2


def test_mistakes_are_printed_without_a_traceback(scene: Path) -> None:
    result = invoke(scene, "--steps", 0, "--seed", -1, "--set", "optimise.steps=3", "--device", "gpu")
    assert result.exit_code == 1
    assert "error: the scene cannot be used: 4 mistakes" in result.output
    assert "--steps: `optimize.steps` must be an integer of at least 1, got 0" in result.output
    assert "did you mean `optimize`?" in result.output
    assert "Traceback" not in result.output


def test_wrong_files_are_reported_without_a_traceback(scene: Path) -> None:
    (scene.parent / "transforms.json").write_text("{}")
    result = invoke(scene, "--set", f"targets={{path: {scene.parent}}}", "--out", scene.parent / "out")
    assert result.exit_code == 1
    assert "error: " in result.output
    assert "frames" in result.output
    assert "Traceback" not in result.output
    assert not (scene.parent / "out").exists()


@pytest.mark.parametrize("arguments", [["--nonsense"], ["a.yaml", "--steps", "few"], []])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


@pytest.fixture
def heeded_ctrl_c() -> Iterator[None]:
    """Let children heed Ctrl-C also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_ctrl_c_in_the_middle_writes_the_results_and_exits_with_130(scene: Path) -> None:
    out = scene.parent / "out"
    command = [sys.executable, ROOT / "scripts" / "fit_scene.py", scene, "--out", out, "--steps", "1000000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        try:
            deadline = time.monotonic() + 120
            log = out / "tiny" / "latest" / "metrics.jsonl"
            while not (log.is_file() and log.read_text().count("\n") > 3):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in output + errors
    assert (out / "tiny" / "latest" / "mesh" / "final.obj").is_file()
    assert json.loads((out / "tiny" / "latest" / "manifest.json").read_text())["stop_reason"] == "interrupted"


@pytest.mark.slow
def test_warmup_compiles_the_kernels_and_says_so() -> None:
    command = [sys.executable, "-m", "diffrender.app.cli", "warmup"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"all CPU kernels are ready, [0-9.]+ s\n", result.stdout)
