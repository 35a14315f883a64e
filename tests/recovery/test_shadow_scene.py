"""scenes/shadow.yaml at a small size: the lamp and the caster of the shadow are recovered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffrender.config.load import load_config
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "shadow.yaml"
SMALL = (
    "targets.resolution=40",
    "targets.synthetic.samples=2",
    "optimize.steps=60",
    "optimize.objects.ball.pose.start=30",
)


def test_the_lamp_and_the_place_of_the_ball_are_found() -> None:
    setup = build_fit(load_config(SCENE, SMALL))
    target = setup.target_scene
    assert target is not None
    before = evaluate_views(setup.scene, setup.fit_views, setup.render_views)["psnr_db"]
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    after = evaluate_views(result.scene, setup.fit_views, setup.render_views)["psnr_db"]
    found, wanted = (
        torch.nn.functional.normalize(scene.lights["sun"].direction, dim=0)  # type: ignore[attr-defined]
        for scene in (result.scene, target)
    )
    degrees = float(torch.rad2deg((found @ wanted).clamp(-1, 1).acos()))
    place, truth = (scene.objects["ball"].pose[:3, 3] for scene in (result.scene, target))
    assert degrees < 3
    assert float((place - truth).norm()) < 0.03
    assert after > before + 10
