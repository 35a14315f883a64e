"""Whole runs of scenes with programs: results, hashes, pictures, resuming, and the command's refusal."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from support.moving_ball import PROGRAM, write_ball
from support.small_runs import raise_after
from typer.testing import CliRunner

from diffrender.app import cli
from diffrender.app.relight import relight_run
from diffrender.app.run import RunResult, run_fit
from diffrender.app.run_recorder import Recorder
from diffrender.app.verdict import value_checks
from diffrender.config.load import load_config
from diffrender.errors import ConfigError, ProgramError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.saved_scene import load_scene

DRAWS = """
def report(run):
    from matplotlib.figure import Figure
    assert set(run.found) == set(run.true) == {"speed", "side"} and len(run.time) == 9
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(run.time, run.time * run.found["speed"])
    return figure
"""


def run_ball(scene: Path, *overrides: str, resume: Path | None = None) -> RunResult:
    return run_fit(load_config(scene, overrides), "ball", scene, scene.parent / "out", resume=resume)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    scene = write_ball(tmp_path_factory.mktemp("ball"), PROGRAM + DRAWS)
    return run_ball(scene)


def test_a_run_reports_its_parameters(finished: RunResult) -> None:
    found = json.loads((finished.folder / "metrics.json").read_text())["program"]
    assert found["speed"] == {"start": 0.8, "found": pytest.approx(1.2, abs=0.05), "true": 1.2, "unit": "m/s"}
    assert found["side"] == {"start": 0.2, "found": pytest.approx(0.5, abs=0.05), "true": 0.5}
    page = (finished.folder / "report.html").read_text()
    assert "program.speed" in page and "m/s; true: 1.2, off by" in page and "What the program draws" in page
    assert (finished.folder / "program.png").stat().st_size > 500
    assert "m/s (initially 0.8, truly 1.2)" in (finished.folder / "log.txt").read_text()


def test_levenberg_marquardt_finds_parameters_and_says_how_certain_they_are(tmp_path: Path) -> None:
    scene = write_ball(tmp_path, PROGRAM)
    overrides = ["optimize={method: levenberg_marquardt, background: {}}", "loss={mask: null, white_light: 1.0e-6}"]
    run = run_ball(scene, *overrides)
    assert run.metrics["steps"] <= 15
    for name, true in (("speed", 1.2), ("side", 0.5)):
        assert run.metrics["program"][name]["found"] == pytest.approx(true, abs=0.003)
        assert 0 < run.metrics["deviations"][f"program.{name}"]["deviation"] < 0.003
        assert run.metrics["learned"][f"program.{name}"] == pytest.approx(true, abs=0.003)
    page = (run.folder / "report.html").read_text()
    assert page.count("standard deviation") == 3  # of the background as well, a float32 beside float64
    said = (run.folder / "log.txt").read_text()
    assert "truly 1.2); standard deviation" in said
    assert re.search(r"background .*\(initially 0, 0, 0\); .*standard deviation", said)


def test_parameters_far_from_the_true_ones_are_told(finished: RunResult, tmp_path: Path) -> None:
    assert "missed_truth" not in [reason["key"] for reason in finished.metrics["reasons"]]
    run = run_ball(write_ball(tmp_path), "optimize.steps=2")
    (told,) = (reason for reason in run.metrics["reasons"] if reason["key"] == "missed_truth")
    assert "speed is 0." in told["text"] and "and was 1.2 in the pictures" in told["text"]


@pytest.mark.parametrize(
    ("start", "true", "found", "is_told"),
    [
        (0.8, 1.2, 1.29, False),
        (0.8, 1.2, 1.31, True),
        (1.2, 1.2, 1.22, False),
        (1.2, 1.2, 1.23, True),
        (0.0, 0.0, 0.01, False),  # nothing says what is much
        (2.0, 3.0, 3.1 + 2 * math.pi, False),  # the same angle
        (2.0, 3.0, 3.3 - 4 * math.pi, True),
        (0.0, 20.0, 1.0, True),
        (0.0, 10.0, 3.8, True),
        (400.0, 500.0, 430.0, True),
    ],
)
def test_what_counts_as_far_from_the_true_value(
    start: float, true: float, found: float, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SimpleNamespace(
        **{name: {"angle": torch.tensor(value)} for name, value in (("start", start), ("true", true), ("found", found))}
    )
    monkeypatch.setattr(value_checks, "program_run", lambda *_: run)
    model = SimpleNamespace(latents={"program.angle": None})
    course = SimpleNamespace(
        case=SimpleNamespace(setup=SimpleNamespace(model=model)), result=SimpleNamespace(returned_step=1)
    )
    assert (value_checks.find_missed_truth(course) is not None) == is_told


@pytest.mark.parametrize("fastest", [1, 1.1])
def test_a_program_in_the_way_of_the_last_steps_is_told(fastest: float, tmp_path: Path) -> None:
    """Trials that cannot be rendered are damped, which ended a fit far from the truth without a word."""
    failing = f"    assert speed < {fastest}, 'too fast'\n    height ="
    scene = write_ball(tmp_path, PROGRAM.replace("    height =", failing))
    (tmp_path / "true.py").write_text(PROGRAM)
    overrides = ["optimize={method: levenberg_marquardt}", f"targets.synthetic.program.file={tmp_path / 'true.py'}"]
    run = run_ball(scene, *overrides)
    (told,) = (reason for reason in run.metrics["reasons"] if reason["key"] == "program_in_the_way")
    assert "AssertionError: too fast" in told["text"] and "range" in told["remedy"]
    assert run.metrics["verdict"] != "good"


def test_a_number_at_the_end_of_its_range_has_no_deviation_and_the_range_is_named(tmp_path: Path) -> None:
    overrides = ["optimize={method: levenberg_marquardt}", "program.parameters.speed.range=[0, 1]"]
    run = run_ball(write_ball(tmp_path), *overrides)
    (told,) = (reason for reason in run.metrics["reasons"] if reason["key"] == "at_bound")
    assert "program.speed" in told["text"] and "program.parameters.<name>.range" in told["remedy"]
    assert run.metrics["deviations"]["program.speed"] == {"deviation": None, "at_end": True}
    assert run.metrics["deviations"]["program.side"]["deviation"] > 0
    matrix = run.metrics["covariance"]["matrix"]
    assert matrix[0] == [None, None] and matrix[1][1] > 0


CERTAIN = """
def report(run):
    import json
    from pathlib import Path
    from matplotlib.figure import Figure
    covariance = None if run.covariance is None else run.covariance.tolist()
    told = {"deviations": {name: each.tolist() for name, each in run.deviations.items()}, "covariance": covariance,
            "ranges": run.ranges}
    Path(__file__).with_name("told.json").write_text(json.dumps(told))
    return Figure()
"""


def test_the_programs_report_is_told_how_certain_parameters_are(tmp_path: Path) -> None:
    scene = write_ball(tmp_path, PROGRAM + CERTAIN)
    overrides = ["optimize={method: levenberg_marquardt, background: {}}", "loss={mask: null, white_light: 1.0e-6}"]
    run = run_ball(scene, *overrides)
    told = json.loads((tmp_path / "told.json").read_text())
    covariance = torch.tensor(told["covariance"])
    for row, name in enumerate(("speed", "side")):
        wanted = run.metrics["deviations"][f"program.{name}"]["deviation"]
        row = run.metrics["covariance"]["of"].index(f"program.{name}")
        assert run.metrics["covariance"]["matrix"][row][row] ** 0.5 == pytest.approx(wanted, rel=0.01)
        assert told["deviations"][name] == pytest.approx(wanted, rel=0.01)
        assert float(covariance[row, row]) ** 0.5 == pytest.approx(wanted, rel=0.01)
    assert torch.equal(covariance, covariance.T) and float(covariance[0, 1]) != 0
    assert told["ranges"] == {"speed": [0, 3]}
    # Of parameters that are not learned nothing is told, nor after other methods.
    run_ball(scene, "optimize={method: levenberg_marquardt, program.side: off}", "loss={mask: null}")
    told = json.loads((tmp_path / "told.json").read_text())
    assert list(told["deviations"]) == ["speed"] and len(told["covariance"]) == 1
    run_ball(scene, "optimize.steps=1")
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["deviations"] == {} and told["covariance"] is None


def test_pictures_are_not_drawn_beside_a_program_that_changes_the_default_dtype(tmp_path: Path, monkeypatch) -> None:
    found = []

    def noting(self, *arguments):
        drawn(self, *arguments)
        found.append(torch.get_default_dtype())

    drawn = Recorder._draw_snapshot
    monkeypatch.setattr(Recorder, "_draw_snapshot", noting)
    slow = "    import time as clock\n    clock.sleep(0.05)\n    height ="
    program = PROGRAM.replace("import torch\n", "import torch\ntorch.set_default_dtype(torch.float64)\n")
    run_ball(write_ball(tmp_path, program.replace("    height =", slow)), "optimize.steps=4")
    assert len(found) >= 3 and set(found) == {torch.float32}


def test_a_program_that_puts_all_out_of_view_is_named(tmp_path: Path) -> None:
    away = write_ball(tmp_path, PROGRAM.replace("side * time", "100 + side * time"))
    (tmp_path / "true.py").write_text(PROGRAM)
    wanted = r"sees the initial scene.* Check where throw\(speed=0\.8, side=0\.2\) of .*ball\.py puts its objects"
    with pytest.raises(ConfigError, match=wanted):
        run_ball(away, f"targets.synthetic.program.file={tmp_path / 'true.py'}")


def test_a_report_that_fails_is_told_and_loses_nothing(tmp_path: Path) -> None:
    scene = write_ball(tmp_path, PROGRAM + "\ndef report(run):\n    return 1 / 0\n")
    run = run_ball(scene, "optimize.steps=1")
    assert not (run.folder / "program.png").exists()
    told = (run.folder / "report.html").read_text()
    assert "program.png could not be drawn: " in told
    assert f"ball.py, line {len(PROGRAM.splitlines()) + 3}: `report` of the program failed: ZeroDivisionError" in told


def test_a_program_without_forward_mode_is_told_what_it_lacks(tmp_path: Path) -> None:
    own = """
class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad

"""
    program = PROGRAM.replace("def throw", own + "def throw").replace("speed * time", "Once.apply(speed) * time")
    assert "Once.apply(speed)" in program
    scene = write_ball(tmp_path, program)
    with pytest.raises(ProgramError, match=r"no forward mode .* levenberg_marquardt needs"):
        run_ball(scene, "optimize={method: levenberg_marquardt}")


def test_the_manifest_has_the_hashes(finished: RunResult) -> None:
    digest = hashlib.sha256((PROGRAM + DRAWS).encode()).hexdigest()
    programs = json.loads((finished.folder / "manifest.json").read_text())["programs"]
    assert [(each["of"], each["function"], each["sha256"]) for each in programs] == [
        ("scene", "throw", digest),
        ("targets", "throw", digest),
    ]
    assert digest in (finished.folder / "scene.resolved.yaml").read_text()
    copies = {path.name: path.read_text() for path in (finished.folder / "programs").iterdir()}
    assert copies == {"scene_ball.py": PROGRAM + DRAWS, "targets_ball.py": PROGRAM + DRAWS}


def test_modules_beside_the_program_are_kept_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "halves_of_run").mkdir()
    (tmp_path / "halves_of_run" / "earth.py").write_text("HALF = 0.5\n")
    program = "from halves_of_run.earth import HALF\n" + PROGRAM.replace("0.5 * time", "HALF * time")
    scene = write_ball(tmp_path, program)
    run = run_ball(scene, "optimize.steps=1")
    kept = run.folder / "programs"
    assert (kept / "halves_of_run" / "earth.py").read_text() == "HALF = 0.5\n"
    programs = json.loads((run.folder / "manifest.json").read_text())["programs"]
    assert [each["modules"] for each in programs] == [["halves_of_run/earth.py"]] * 2
    (tmp_path / "halves_of_run" / "earth.py").write_text("HALF = 0.25\n")
    with pytest.raises(ConfigError, match=r"program\.sha256"):
        run_ball(scene, "optimize.steps=1", resume=run.folder)


def test_what_is_written_can_be_used_without_the_program(finished: RunResult, tmp_path: Path) -> None:
    saved = load_scene(finished.folder / "scene.pt")
    assert saved.scene.motion is not None and set(saved.scene.program) == {"speed", "side"}
    assert finished.metrics["export"]["glb_psnr_db"] > 40
    views = read_capture(finished.folder / "cameras", CaptureOptions()).views
    assert views.cameras.time is not None
    assert views.cameras.time.tolist() == pytest.approx([view / 6 for view in (1, 2, 3, 5, 6, 7)])
    with pytest.raises(ConfigError, match="unlit"):
        relight_run(finished.folder, lights=["{type: ambient}"], out=tmp_path)


def test_a_fit_from_a_run_starts_with_its_parameters_as_precise_as_they_were(
    tmp_path: Path, finished: RunResult
) -> None:
    scene = write_ball(tmp_path, PROGRAM + DRAWS)
    text = scene.read_text().replace("\nobjects: [{name: ball", "\n# objects: [{name: ball", 1)
    scene.write_text(f"from: {finished.folder}\n{text}")
    setup = build_fit(load_config(scene))
    for name, value in finished.fit.scene.program.items():
        assert setup.scene.program[name].dtype == torch.float64
        assert float(setup.scene.program[name]) == float(value)


def test_a_resumed_run_has_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: RunResult) -> None:
    scene = write_ball(tmp_path, PROGRAM + DRAWS)
    raise_after(monkeypatch, 24)
    stopped = run_ball(scene)
    assert stopped.fit.stop_reason == "interrupted" and stopped.fit.steps_done == 25
    resumed = run_ball(stopped.folder / "scene.resolved.yaml", resume=stopped.folder)
    for name, value in finished.fit.scene.program.items():
        assert torch.equal(resumed.fit.scene.program[name], value)


def test_temperatures_of_a_resumed_run_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = PROGRAM.replace("speed, side, time", "speed, side, temperature, time").replace(
        "    return", "    height = relaxed.clamp(height, 0.1, 0.6, temperature)\n    return"
    )
    scene = write_ball(tmp_path, f"from diffrender.programs import relaxed\n{program}")
    cools = ["targets.synthetic.program.anneal.temperature=[0.2, 0.01]", "program.anneal.temperature=[0.2, 0.01]"]
    whole = run_ball(scene, *cools)
    assert whole.metrics["program"].keys() == {"speed", "side"}  # a temperature is not a result
    resolved = yaml.safe_load((whole.folder / "scene.resolved.yaml").read_text())
    assert resolved["program"]["anneal"] == {"temperature": {"values": [0.2, 0.01], "until": 20}}
    raise_after(monkeypatch, 9)
    stopped = run_ball(scene, *cools)
    assert stopped.fit.steps_done == 10
    resumed = run_ball(stopped.folder / "scene.resolved.yaml", resume=stopped.folder)
    rows = [
        [json.loads(line)["total"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        for run in (whole, resumed)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 40
    for name, value in whole.fit.scene.program.items():
        assert torch.equal(resumed.fit.scene.program[name], value)


def test_a_run_is_not_resumed_with_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_ball(tmp_path)
    raise_after(monkeypatch, 20)
    stopped = run_ball(scene)
    write_ball(tmp_path, PROGRAM.replace("0.5 * time", "0.6 * time"))
    with pytest.raises(ConfigError, match="has changed"):
        run_ball(stopped.folder / "scene.resolved.yaml", resume=stopped.folder)
    with pytest.raises(ConfigError, match=r"program\.sha256 was"):
        run_ball(scene, resume=stopped.folder)


def test_a_run_starts_from_the_parameters_of_another(finished: RunResult, tmp_path: Path) -> None:
    scene = write_ball(tmp_path, PROGRAM)
    text = scene.read_text()
    start, end = text.index("objects: [{name: ball, mesh: {init: sphere, subdivisions: 2"), text.index("\nprogram:")
    scene.write_text(text[:start] + f"from: {finished.folder}" + text[end:])
    again = run_ball(scene, "optimize.steps=2")
    first = json.loads((again.folder / "metrics.json").read_text())["program"]["speed"]["start"]
    assert first == pytest.approx(float(finished.fit.scene.program["speed"]))


def test_colours_are_learned_beside_a_program(tmp_path: Path) -> None:
    scene = write_ball(tmp_path)
    result = run_ball(
        scene,
        "optimize.objects.ball.material.base_color.lr=0.1",
        "objects.ball.material.base_color=0.2",
        "optimize.steps=30",
    )
    color = result.fit.scene.objects["ball"].material.base_color
    assert result.fit.stop_reason == "finished" and float(color.mean()) > 0.35
    assert float(result.fit.scene.program["speed"]) > 1


def test_a_program_that_fails_on_the_way_ends_the_run_with_its_results(tmp_path: Path) -> None:
    fails = PROGRAM.replace("    height =", "    if speed > 0.9: raise ValueError('too fast')\n    height =")
    scene = write_ball(tmp_path, fails)
    result = run_ball(scene, "targets.synthetic.program.parameters.speed=0.89", "optimize.program.speed.lr=0.5")
    assert result.fit.stop_reason == "program" and "ValueError: too fast" in str(result.fit.message)
    assert result.metrics["verdict"] == "failed" and (result.folder / "report.html").is_file()


def test_the_command_refuses_programs_and_reports_their_errors(tmp_path: Path) -> None:
    trace = tmp_path / "imported"
    scene = write_ball(tmp_path, f"open({str(trace)!r}, 'w').close()\n1 / 0\n")
    out = ["--out", str(tmp_path / "out")]
    for command in (["fit", str(scene), *out], ["check", str(scene), *out]):
        refused = CliRunner().invoke(cli.app, [*command, "--no-programs"])
        assert refused.exit_code == 1 and not trace.exists()
        assert "`program` would run" in refused.output and "ball.py, which --no-programs refuses" in refused.output
    failed = CliRunner().invoke(cli.app, ["fit", str(scene), *out])
    assert failed.exit_code == 1 and trace.exists()
    assert "ball.py, line 2: the program cannot be imported: ZeroDivisionError" in failed.output
