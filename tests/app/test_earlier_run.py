from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_runs import raise_after, run_small
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.app.run import RunResult
from diffrender.errors import ConfigError, DataError
from diffrender.fit.best_state import BestState

SCENE = """
targets: {resolution: 20, synthetic: {mesh: {init: bumpy, subdivisions: 2}, views: 5, samples: 2}}
mesh: {subdivisions: 1}
lights: [{name: key, type: directional, radiance: 3}, ambient]
render: {edges: {type: soft, samples: 2}}
optimize:
  steps: 8
  batch_size: 2
  mesh.vertices: {schedule: cosine}
  material.base_color:
  lights.key.direction: {start: 5}
progress: {pictures: 3, views: 2, video: false, turntable: false}
"""
REMESHED = "optimize.mesh.vertices={schedule: cosine, remesh: {every: 2, shortest: 0.25, longest: 0.6}}"

EXPOSED = (
    "targets.synthetic.exposure_stops=1",
    "targets.synthetic.color_cast=0.2",
    "optimize.cameras.exposure=0.05",
    "optimize.cameras.white_balance.start=5",
)
CAMERAS = (
    "optimize.cameras.pose.start=3",
    "optimize.cameras.focal={}",
    "optimize.cameras.center={shared: false}",
)


class Killed(BaseException):
    """An exception that nothing in a run catches."""


def run(folder: Path, *overrides: str, resume: Path | None = None) -> tuple[RunResult, str]:
    return run_small(SCENE, folder, *overrides, resume=resume)


def assert_same_state(first: object, second: object) -> None:
    """Assert that two checkpoints are equal bit for bit."""
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    elif isinstance(first, dict):
        assert isinstance(second, dict) and list(first) == list(second)
        for key in first:
            assert_same_state(first[key], second[key])
    else:
        assert first == second


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if not key.endswith(("_s", "seconds", "per_s"))}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("overrides", "how"),
    [
        pytest.param((), KeyboardInterrupt, id="one mesh-ctrl c"),
        pytest.param((), Killed, id="one mesh-killed", marks=pytest.mark.slow),
        pytest.param((REMESHED,), KeyboardInterrupt, id="remeshed-ctrl c", marks=pytest.mark.slow),
        pytest.param((REMESHED,), Killed, id="remeshed-killed"),
        pytest.param(EXPOSED, KeyboardInterrupt, id="exposed-ctrl c", marks=pytest.mark.slow),
        pytest.param(EXPOSED, Killed, id="exposed-killed", marks=pytest.mark.slow),
        pytest.param(CAMERAS, Killed, id="cameras-killed"),
    ],
)
def test_a_resumed_run_ends_as_if_it_had_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], how: type[BaseException]
) -> None:
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole, _ = run(tmp_path / "whole", *overrides)
    raise_after(monkeypatch, 5, how)
    if how is KeyboardInterrupt:
        begun = run(tmp_path / "parts", *overrides)[0].folder
    else:
        with pytest.raises(Killed):
            run(tmp_path / "parts", *overrides)
        begun = (tmp_path / "parts" / "out" / "small" / "latest").resolve()
        assert len(rows_of(begun)) == 6 and torch.load(begun / "checkpoints" / "last.pt")["steps_done"] == 4
    resumed, _ = run(tmp_path / "parts", *overrides, resume=begun)

    assert resumed.folder == begun
    assert resumed.fit.stop_reason == "finished" and resumed.fit.steps_done == 8
    last = [torch.load(each.folder / "checkpoints" / "last.pt") for each in (whole, resumed)]
    assert_same_state(*last)
    assert bool(last[0]["meshes"]) == (overrides == (REMESHED,))
    assert ("cameras.exposure" in last[0]["latents"]) == (overrides == EXPOSED)
    assert ("cameras.pose" in last[0]["latents"]) == (overrides == CAMERAS)
    written = ("lights/lights.json", "cameras/transforms.json", "scene.resolved.yaml")
    for name in ("mesh/final.glb", "mesh/final_obj/final.obj", "mesh/initial_obj/initial.obj", *written):
        assert (whole.folder / name).read_bytes() == (begun / name).read_bytes()
    assert without_times(rows_of(begun)) == without_times(rows_of(whole.folder))
    times = [row["seconds"] for row in rows_of(begun)]
    assert times == sorted(times)
    metrics = [json.loads((each.folder / "metrics.json").read_text()) for each in (whole, resumed)]
    assert without_times(metrics[0]) == without_times(metrics[1])
    manifest = json.loads((begun / "manifest.json").read_text())
    assert (manifest["first_step"], manifest["steps_done"]) == (6 if how is KeyboardInterrupt else 4, 8)
    for step in (0, 4, 8):
        name = f"progress/step_{step:05d}.png"
        assert (whole.folder / name).read_bytes() == (begun / name).read_bytes()


@pytest.mark.parametrize("overrides", [(), pytest.param((REMESHED,), marks=pytest.mark.slow)])
def test_a_resumed_run_goes_back_to_the_same_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    # The best of nine states is the fourth, which has another mesh than the last if it is remeshed.
    monkeypatch.setattr(BestState, "_evaluate", lambda self: abs(len(self.objectives) - 3.0) + 0.5)
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    whole, shown = run(tmp_path / "whole", *overrides)
    raise_after(monkeypatch, 5)
    begun, _ = run(tmp_path / "parts", *overrides)
    resumed, _ = run(tmp_path / "parts", *overrides, resume=begun.folder)
    assert whole.fit.returned_step == resumed.fit.returned_step == 3
    assert "The fit went back to its state after 3 of 8 steps" in " ".join(shown.split())
    assert "went_back" in [reason["key"] for reason in whole.metrics["reasons"]]
    assert_same_state(*[torch.load(each.folder / "checkpoints" / "last.pt") for each in (whole, resumed)])
    for name in ("mesh/final.glb", "mesh/final_obj/final.obj", "mesh/initial_obj/initial.obj"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes()
    assert without_times(whole.metrics) == without_times(resumed.metrics)


def test_the_video_of_a_resumed_run_begins_with_the_earlier_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filmed: list[list[np.ndarray]] = []
    monkeypatch.setattr("diffrender.app.run_recorder.write_video", lambda frames, *_: filmed.append(list(frames)))
    raise_after(monkeypatch, 5)
    begun, _ = run(tmp_path, "progress.video=true")
    run(tmp_path, "progress.video=true", resume=begun.folder)
    # First the frames of steps 0 to 6; then the pictures of steps 0, 4 and 6, and the frames after them.
    assert [len(frames) for frames in filmed] == [7, 5]
    for there, here in zip((0, 4, 6), (0, 1, 2), strict=True):
        assert np.array_equal(filmed[0][there], filmed[1][here])


def test_pictures_of_another_size_are_no_frames_of_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_after(monkeypatch, 3)
    begun, _ = run(tmp_path, "progress.video=true")
    Image.new("RGB", (200, 100)).save(begun.folder / "progress" / "step_00000.png")
    frames: list[np.ndarray] = []
    monkeypatch.setattr("diffrender.app.run_recorder.write_video", lambda images, *rest: frames.extend(images))
    run(tmp_path, "progress.video=true", resume=begun.folder)
    assert len(frames) == 5  # after steps 4 to 8
    assert all(frame.std() > 0 and frame.shape == frames[-1].shape for frame in frames)


def test_runs_that_cannot_be_resumed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_after(monkeypatch, 3)
    begun = run(tmp_path)[0].folder
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, "optimize.mesh.vertices.lr=0.5", "lights.key.radiance=2", resume=begun)
    message = str(caught.value)
    assert "is a run of another scene: " in message and "Omit the scene file" in message
    assert (
        "optimize.mesh.vertices.lr was " in message and "and is now 0.5" in message and "lights.0.radiance" in message
    )
    with pytest.raises(DataError, match="no such folder"):
        run(tmp_path, resume=tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"not the folder of a run, it has no scene\.resolved\.yaml"):
        run(tmp_path, resume=tmp_path / "other")

    log = (begun / "metrics.jsonl").read_text()
    for damaged in ("", log.replace('"step": 1', '"step": 2'), log[: len(log) // 2]):
        (begun / "metrics.jsonl").write_text(damaged)
        with pytest.raises(DataError, match=r"metrics\.jsonl: "):
            run(tmp_path, resume=begun)
    (begun / "metrics.jsonl").write_text(log)
    run(tmp_path, resume=begun)
    with pytest.raises(ConfigError, match=r"8 of 8 steps are done.*continue with --steps 16"):
        run(tmp_path, resume=begun)
    shutil.rmtree(begun / "checkpoints")
    with pytest.raises(DataError, match=r"last\.pt does not exist: the run ended before its first checkpoint"):
        run(tmp_path, resume=begun)


def test_the_command_resumes_by_the_folder_alone_and_goes_on_after_the_end(tmp_path: Path) -> None:
    begun, _ = run(tmp_path, "optimize.steps=6", "export=[obj]")
    latest = tmp_path / "out" / "small" / "latest"
    result = CliRunner().invoke(app, ["fit", "--resume", str(latest), "--steps", "7"])
    assert result.exit_code == 0, result.output
    assert [row["step"] for row in rows_of(begun.folder)] == list(range(7))
    assert "diffrender fit small" in result.output
    assert (begun.folder / "log.txt").read_text().count("diffrender fit small") == 2
    assert "steps: 7" in (begun.folder / "scene.resolved.yaml").read_text()
    assert (begun.folder / "scene.yaml").read_text() == SCENE
    assert len(list((tmp_path / "out" / "small").iterdir())) == 2  # the run and `latest`

    result = CliRunner().invoke(app, ["fit", "--resume", str(latest)])
    assert result.exit_code == 1 and "nothing left to do" in result.output and "Traceback" not in result.output
    result = CliRunner().invoke(app, ["fit", "--resume", str(latest), "--steps", "6"])
    assert "has done 7 steps, more than the 6" in result.output and "--steps 13 for 6 more" in result.output
    result = CliRunner().invoke(app, ["fit", "--resume", str(latest), "--set", "loss.mask=3", "--steps", "9"])
    assert "Omit the options that change it" in result.output and "scene file" not in result.output
    assert CliRunner().invoke(app, ["fit", "--resume", str(latest), "--out", "elsewhere"]).exit_code == 2
