from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.small_runs import raise_after, run_small

from diffrender.app import time_budget
from diffrender.config.load import load_config
from diffrender.errors import ConfigError

SCENE = """
targets: {resolution: 20, synthetic: {mesh: {init: bumpy, subdivisions: 2}, views: 5, samples: 2}}
mesh: {subdivisions: 1}
optimize: {minutes: MINUTES, batch_size: 2, resolution: 0.5}
progress: {pictures: 0, video: false, turntable: false}
"""


class SlowClock(time_budget._Clock):
    """Steps of half a second, three times as long until kernels are compiled."""

    def on_step(self, record, model) -> None:
        self.ends.append(self.ends[-1] + (1.5 if len(self.ends) <= time_budget.WARMUP_STEPS else 0.5))


def test_minutes_become_steps_that_give_the_same_fit_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_budget, "_Clock", SlowClock)
    result, shown = run_small(SCENE.replace("MINUTES", "0.1"), tmp_path)
    assert result.fit.steps_done == 12
    written = (result.folder / "scene.resolved.yaml").read_text()
    assert "  # 0.1 minutes at 0.5 s a step, measured by 30 trial steps\n  steps: 12\n" in written
    assert "optimize.steps: 0.1 minutes at 0.5 s a step" in " ".join(shown.split())
    resolved = load_config(result.folder / "scene.resolved.yaml")
    assert (resolved.optimize.minutes, resolved.optimize.resolution.until) == (None, 6)
    again, _ = run_small(written, tmp_path)
    losses = [
        [json.loads(line)["total"] for line in (each.folder / "metrics.jsonl").read_text().splitlines()]
        for each in (again, result)
    ]
    assert len(losses[0]) == 12 and losses[0] == losses[1]


def test_an_interrupted_run_keeps_its_number_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_budget, "_Clock", SlowClock)
    text = SCENE.replace("MINUTES", "0.1")
    with monkeypatch.context() as patch:
        raise_after(patch, 5)
        broken, _ = run_small(text, tmp_path)
    assert 0 < broken.fit.steps_done < 12
    monkeypatch.setattr(SlowClock, "mean_s", lambda clock: pytest.fail("measured again"))
    result, _ = run_small(text, tmp_path, resume=broken.folder)
    assert result.fit.steps_done == 12


def test_steps_that_compile_count_as_those_after_them() -> None:
    clock = time_budget._Clock()
    clock.ends = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 26.0, 27.0, 28.0, 29.0, 30.0, 33.0]
    assert clock.mean_s() == pytest.approx((5 * 1 + 5 * 1 + 3) / 11)


def test_a_start_that_no_view_sees_is_refused_before_the_trial(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sees the initial scene"):
        run_small(SCENE.replace("MINUTES", "1") + "pose: {translation: [90, 0, 0]}", tmp_path)
