"""scenes/pendulum.yaml at a small size: length, damping and angle come back through the solver of its program."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrender.config.load import load_config
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "pendulum.yaml"
SMALL = ("targets.resolution=64", "targets.synthetic.samples=6", "targets.synthetic.views=24", "optimize.steps=120")


def test_the_pendulum_is_found() -> None:
    setup = build_fit(load_config(SCENE, SMALL))
    assert setup.target_scene is not None
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    for name, wanted in setup.target_scene.program.items():
        start, found = (float(scene.program[name]) for scene in (setup.scene, result.scene))
        assert abs(start / float(wanted) - 1) > 0.15
        assert found == pytest.approx(float(wanted), rel=2e-3)
