"""scenes/lamps.yaml at a small size: whichever lamp is on is found, by a temperature that falls."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrender.config.load import load_config
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit

SCENE = Path(__file__).parents[2] / "scenes" / "lamps.yaml"
SMALL = ("targets.resolution=32", "targets.synthetic.samples=4", "optimize.steps=40")
POSITIONS = ("[2, 1, 2]", "[2, 1, -2]", "[-2, 1, -2]", "[-2, 1, 2]")


def scores_found(lamp: int, *overrides: str) -> list[float]:
    position = f"targets.synthetic.lights.lamp_2.position={POSITIONS[lamp]}"
    setup = build_fit(load_config(SCENE, (*SMALL, position, *overrides)))
    fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    return setup.model.values()["program.scores"].tolist()


@pytest.mark.parametrize("lamp", [2, *(pytest.param(lamp, marks=pytest.mark.slow) for lamp in (0, 1, 3))])
def test_the_lamp_that_is_on_is_found(lamp: int) -> None:
    scores = scores_found(lamp)
    others = [score for k, score in enumerate(scores) if k != lamp]
    assert scores[lamp] > max(others) + 0.2  # ten temperatures: it alone is on


def test_without_a_warm_start_it_is_not() -> None:
    scores = scores_found(2, "program.anneal.temperature=[0.02, 0.02]")
    assert scores[2] < max(scores)
