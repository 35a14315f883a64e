from __future__ import annotations

import errno
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
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_in_the_middle_write_the_results(scene: Path, number: int, status: int) -> None:
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
            process.send_signal(number)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status, errors
    assert "Traceback" not in output + errors
    assert (out / "tiny" / "latest" / "mesh" / "final_obj" / "final.obj").is_file()
    assert json.loads((out / "tiny" / "latest" / "manifest.json").read_text())["stop_reason"] == "interrupted"


@pytest.mark.slow
def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "diffrender", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout.startswith("diffrender ")


def test_warmup_compiles_the_kernels_and_says_so() -> None:
    command = [sys.executable, "-m", "diffrender.app.cli", "warmup"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"all CPU kernels are ready, [0-9.]+ s\n", result.stdout)


def test_other_errors_end_in_one_line_with_the_place_of_the_traceback(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr("diffrender.app.run.run_fit", fail)
    result = invoke(scene)
    assert result.exit_code == 70
    found = re.fullmatch(
        r"error: unexpected ZeroDivisionError: division by; please report it with (\S+\.txt)\n", result.stderr
    )
    assert found is not None
    text = Path(found[1]).read_text()
    assert "in fail" in text and "ZeroDivisionError: division by" in text
    Path(found[1]).unlink()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device, for compiled kernels, .*TMPDIR"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded, for compiled kernels, .*NUMBA_CACHE_DIR"),
        (
            ModuleNotFoundError("No module named 'x.y'", name="x.y"),
            "the package x is not installed; `pip install .` in",
        ),
        (
            ImportError("libGL.so.1: no such file", name="cv"),
            r"the package cv cannot be imported \(libGL.so.1: no such",
        ),
    ],
)
def test_errors_of_the_machine_are_told_with_their_remedy(
    scene: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("diffrender.app.run.run_fit", fail)
    result = invoke(scene)
    assert result.exit_code == 1
    assert re.match(f"error: {told}", result.stderr)


def test_ctrl_c_after_the_end_of_a_command_changes_nothing() -> None:
    code = (
        "import atexit, signal; from diffrender.app.command_errors import run_command;"
        " atexit.register(signal.raise_signal, signal.SIGINT); run_command(lambda: None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", ["~nobody_of_this_name/photos", "loop"])
def test_paths_that_cannot_be_followed_are_named(scene: Path, name: str) -> None:
    (scene.parent / "loop").symlink_to("loop")
    found = invoke(scene, "--set", f"targets={{path: {name}}}"), invoke("--resume", scene.parent / "loop")
    assert [result.exit_code for result in found] == [1, 1]
    assert "no such folder" in found[1].output and name in found[0].output


def test_a_working_folder_that_is_gone_is_told(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = invoke(scene, "--out", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert result.exit_code == 1 and result.stderr.startswith("error: the working folder cannot be found")


def diffrender(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from diffrender.app.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=os.environ | environment, cwd=ROOT, check=False
    )


def test_consoles_that_lack_characters_show_question_marks(scene: Path) -> None:
    odd = scene.with_name("größe.yaml")
    scene.rename(odd)
    result = diffrender("fit", odd, "--out", scene.parent / "out", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "gr??e" in result.stdout and (scene.parent / "out" / "größe" / "latest" / "report.html").is_file()
    assert diffrender("options", "lights", PYTHONIOENCODING="ascii").returncode == 0


def test_the_kernel_cache_moves_if_nothing_else_can_be_written(tmp_path: Path) -> None:
    code = (
        "import os; os.access = lambda path, mode: False; import diffrender.ops; print(os.environ['NUMBA_CACHE_DIR'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | {
        "TMPDIR": str(tmp_path)
    }
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT, check=True
    )
    folder = result.stdout.strip()
    assert folder.startswith(f"{tmp_path}/diffrender_kernels_")
    assert result.stderr == (
        f"diffrender: installation and home are read-only; compiled kernels are kept in {folder}\n"
    )
