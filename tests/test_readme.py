"""What README.md and scenes/README.md say is true: examples run, files that are named exist, scenes are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from diffrender.app import cli
from diffrender.config.load import load_config, parse_config
from diffrender.config.overrides import Override

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCENES = sorted((ROOT / "scenes").glob("*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_library_example_prints_what_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, _, recorded = blocks("python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)
    found = re.fullmatch(r"loss ([\d.]+), color \[(.*)\]\n", capsys.readouterr().out)
    assert found is not None and float(found[1]) == pytest.approx(0.004, abs=0.001)
    assert [float(part) for part in found[2].split(",")] == pytest.approx([0.9, 0.4, 0.1], abs=0.02)
    assert (tmp_path / "egg.png").is_file()
    exec(compile(recorded, "README.md", "exec"), names)
    expected = names["dr"].render_scene(names["scene"](names["vertices"], names["color"]), names["cameras"]).rgba
    assert torch.equal(names["rgba"], expected) and names["rgba"].requires_grad


def test_the_example_of_forward_mode_finds_the_pose(capsys: pytest.CaptureFixture[str]) -> None:
    _, program, _ = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out == "[0.05, -0.1, 0.05, 0.02, 0.0, 0.03]\n"


def test_the_scene_files_shown_are_valid(tmp_path: Path) -> None:
    (tmp_path / "my_capture").mkdir()
    (tmp_path / "pendulum.py").touch()
    texts = blocks("yaml")
    assert len(texts) >= 2
    for text in texts:
        assert parse_config(text, tmp_path).targets.path is not None


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "scenes/README.md",
        "tests/benchmarks/README.md",
        "diffrender/ops/README.md",
        "diffrender/programs/README.md",
    ],
)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert targets or document.startswith("tests")
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_commands_that_are_named_exist() -> None:
    named = set(re.findall(r"(?m)^diffrender (\w+)", "".join(blocks("bash"))))
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    assert named and named <= known


def test_the_gallery_has_every_scene() -> None:
    listed = set(re.findall(r"`(\w+\.yaml)`", (ROOT / "scenes" / "README.md").read_text(encoding="utf-8")))
    assert {path.name for path in SCENES} <= listed


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_every_scene_is_read(path: Path, tmp_path: Path) -> None:
    brings_data = path.stem in ("photographs", "lego", "photometric_stereo")
    overrides = [Override.parse(f"targets.path={tmp_path}")] if brings_data else []
    config = load_config(path, overrides)
    assert (config.targets.path is not None) == brings_data


def test_what_is_commented_out_in_the_scene_of_photographs_is_valid(tmp_path: Path) -> None:
    (tmp_path / "ignore").mkdir()
    _, _, body = (ROOT / "scenes" / "photographs.yaml").read_text(encoding="utf-8").partition("\ntargets:")
    whole = re.sub(r"(?m)^# ( *[a-z_.]+:)", r"\1", re.sub(r"(?m)^  # (?=[a-z_]+:)", "  ", "targets:" + body))
    assert re.findall(r"(?m)^ *#", whole) == []
    # A random background needs masks.
    config = parse_config(whole.replace("masks: false", "masks: true").replace("my_capture", str(tmp_path)), tmp_path)
    assert config.targets.missing == "skip" and config.optimize.minutes == 2
    assert {"cameras.pose", "cameras.focal", "cameras.exposure"} <= set(config.optimize.parameters())
