"""scenes/calibration.yaml at a small size: the lens and the poses of a camera come back, as exactly as is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffrender.app.camera_errors import camera_errors
from diffrender.app.uncertainty import find_deviations, find_posterior
from diffrender.config.load import load_config
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "calibration.yaml"
SMALL = ("targets.resolution=80", "targets.synthetic.samples=6", "render.edges.anneal.sigma=[4, 0.5]")


def test_a_camera_is_calibrated() -> None:
    setup = build_fit(load_config(SCENE, SMALL))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    errors, deviations = camera_errors(setup, result), find_deviations(find_posterior(setup, result))
    for path, start, found in (("focal", 8.0, 0.3), ("center", 3.0, 0.3), ("k1", 0.14, 0.003)):
        error = errors[f"cameras.{path}"]
        assert error["start"]["off"] > start and error["found"]["off"] < found
        # One lens: the same deviation in every view, in units of the value.
        each = torch.tensor(deviations[f"cameras.{path}"]["deviation"])
        assert torch.equal(each, each[:1].expand_as(each)) and len(each) == 6
        assert error["found"]["off"] < 4 * float(each.max()) < start
    pose = errors["cameras.pose"]
    assert pose["start"]["turn_deg"] > 2.9 and pose["found"]["turn_deg"] < 0.1
    assert len(deviations["cameras.pose"]["turn_deg"]) == 6
