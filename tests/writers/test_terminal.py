from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from diffrender.writers.report.step_timer import StepTimer
from diffrender.writers.report.terminal import Closing, FitPanel, Opening


@dataclass
class Step:
    step: int
    total: float
    psnr_db: float


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


OPENING = Opening(
    scene="quickstart",
    device="cpu (numba, 2 threads)",
    n_fit=21,
    n_heldout=3,
    width=128,
    height=96,
    start="sphere of 2,562 vertices",
    start_scores=[("held-out PSNR", "dB", 12.34), ("mask IoU", "", 0.6123)],
    parameters=[("mesh.vertices", "lr 0.01"), ("background", "lr 0.1")],
    folder=Path("outputs/quickstart/" + "x" * 120),
)
CLOSING = Closing(
    verdict="failed",
    reasons=[("term image is NaN in view_003", "lower the rate")],
    stop_reason="non_finite",
    steps_done=1234,
    seconds=75.2,
    scores=[("held-out PSNR", "dB", 12.3, 29.84), ("held-out mask IoU", "", 0.61, math.nan)],
    files=[("mesh", Path("outputs/" + "x" * 120 + "/final.glb"))],
    next_command="diffrender fit scenes/pose.yaml",
)


def run(terminal: bool, n_steps: int, n_done: int | None = None, width: int = 80) -> str:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system=None, _environ={})
    panel = FitPanel([128.0] * n_steps, console, clock)
    panel.opening(OPENING)
    with panel:
        for step in range(n_steps if n_done is None else n_done):
            clock.now_s += 5.0 if step == 0 else 0.05
            panel.on_step(Step(step, 0.5 / (step + 1), 10.0), None)
    panel.closing(CLOSING)
    return stream.getvalue()


def test_opening_and_closing_say_everything_and_keep_paths_whole():
    text = run(False, 1)
    for said in (
        "24 views of 128 x 96: 21 fitted, 3 held out",
        "held-out PSNR 12.3 dB, mask IoU 0.612",
        "mesh.vertices  lr 0.01",
        "background     lr 0.1",
        "cpu (numba, 2 threads)",
        str(OPENING.folder),
        "failed  non-finite after 1,234 steps, 1:15 min\n  term image is NaN in view_003\n    lower the rate\n",
        str(CLOSING.files[0][1]),
        "diffrender fit scenes/pose.yaml",
    ):
        assert said in text
    assert re.search(r"held-out PSNR +12\.3 +29\.8 +dB", text)
    assert re.search(r"held-out mask IoU +0\.610 +- *\n", text)


@pytest.mark.parametrize(("n_steps", "most"), [(1, 1), (7, 7), (400, 21), (1999, 22)])
def test_about_twenty_plain_lines_and_no_control_characters(n_steps, most):
    text = run(False, n_steps)
    lines = [line for line in text.splitlines() if line.startswith("  step")]
    assert "\x1b" not in text and "\r" not in text
    assert min(n_steps, 20) <= len(lines) <= most
    assert f"{n_steps}/{n_steps}" in lines[-1]
    assert lines[0].split()[1] == f"1/{n_steps}"


def test_pace_leaves_out_the_compilation():
    lines = [line for line in run(False, 400).splitlines() if line.startswith("  step")]
    assert "- steps/s" in lines[0]
    assert "loss 0.0250" in lines[1] and "batch PSNR 10.0 dB" in lines[1] and "20.0 steps/s" in lines[1]
    assert "0:19 left" in lines[1]


def test_the_time_left_counts_larger_images_that_are_to_come():
    """As measured: 59, 179 and 667 ms at 200, 400 and 800 pixels."""
    clock = Clock()
    times_s = [0.059] * 50 + [0.179] * 50 + [0.667] * 20
    timer = StepTimer([200.0] * 50 + [400.0] * 50 + [800.0] * 20, clock)
    for step, time_s in enumerate(times_s):
        clock.now_s += 5.0 if step == 0 else time_s
        timer.tick(step)
        if step > 0:
            assert timer.remaining_s == pytest.approx(sum(times_s[step + 1 :]), rel=0.1)
            assert timer.steps_per_s == pytest.approx(1 / time_s)


def test_the_smallest_images_take_no_time_of_their_pixels():
    """Those of Levenberg-Marquardt's method begin at a few pixels, and a step takes a hundredth of a second anyhow."""
    clock = Clock()
    sides = [8.0] * 8 + [16.0] * 8 + [32.0] * 8 + [320.0] * 16
    times_s = [0.02 * (1 + (side / 126) ** 2) for side in sides]
    timer = StepTimer(sides, clock)
    for step, time_s in enumerate(times_s[:3]):
        clock.now_s += time_s
        timer.tick(step)
    assert timer.remaining_s == pytest.approx(sum(times_s[3:]))
    assert sum(times_s) < 4


@pytest.mark.parametrize("n_steps", [6, 12000])
def test_live_bar_fits_into_80_columns_and_ends(n_steps):
    text = run(True, n_steps, n_done=3)
    bar = [line for line in text.splitlines() if f"3/{n_steps}" in line][-1]
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", bar.split("\r")[-1])
    assert len(shown) <= 80
    assert "loss 0.1667" in shown and "left" in shown
    assert ("━━━" in shown) == (n_steps == 6)
    assert text.rstrip("\n").count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back


def test_non_finite_numbers_are_shown_not_raised():
    stream = io.StringIO()
    with FitPanel([128.0] * 2, Console(file=stream, width=80)) as panel:
        panel.on_step(Step(0, math.nan, math.inf), None)
    assert "nan" in stream.getvalue()


def test_interruption_passes_through_and_stops_the_bar():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={})
    with pytest.raises(KeyboardInterrupt), FitPanel([128.0] * 5, console):
        raise KeyboardInterrupt
    assert stream.getvalue().count("\x1b[?25h") == 1
