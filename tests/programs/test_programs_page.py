"""diffrender/programs/README.md is true: its examples print what they say, its scene file is valid, its names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import diffrender as dr
from diffrender.config.load import parse_config

PAGE = (Path(dr.__file__).parent / "programs" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["loop", "score_function", "custom_gradient", "jax"])
def test_examples_print_what_they_say(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "import jax" in block:
        pytest.importorskip("jax", reason="JAX is not installed")
    exec(compile(block, "README.md", "exec"), {})
    said = " ".join(re.findall(r"print\(.*\)  # (.*)", block))
    numbers = [[float(each) for each in re.findall(r"[\d.]+", text)] for text in (said, capsys.readouterr().out)]
    assert numbers[0] and numbers[1] == pytest.approx(numbers[0], rel=5e-3)


def test_the_scene_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / "my_capture").mkdir()
    (tmp_path / "ball.py").touch()
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = parse_config(text, tmp_path)
    assert config.program is not None and config.program.anneal.by_name()["temperature"].values == (1.0, 0.02)


def test_all_that_is_public_is_in_its_tables() -> None:
    for module, others in ((dr.relaxed, {"Anneal", "Sorted"}), (dr.bridges, {"ScipyProblem"})):
        assert set(module.__all__) == others | {name for name in module.__all__ if f"| `{name}(" in PAGE}


def test_what_the_scenes_page_quotes_of_programs_are_their_lines() -> None:
    scenes = Path(dr.__file__).parents[1] / "scenes"
    blocks = re.findall(r"```python\n(.*?)```", (scenes / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block, name in zip(blocks, ("pendulum", "robot_arm"), strict=True):
        text = (scenes / "programs" / f"{name}.py").read_text(encoding="utf-8")
        lines = [re.sub(r"\s+#.*", "", line) for line in text.splitlines()]
        assert [line for line in block.splitlines() if line not in lines] == []
