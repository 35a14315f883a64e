"""scenes/material.yaml at a small size: in a few steps material and light get closer to the target's."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrender.config.load import load_config
from diffrender.evaluate.materials import MaterialEvaluator
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit
from diffrender.threads import threads_to_kernels

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "material.yaml"
SMALL = (
    "targets.resolution=48",
    "targets.synthetic.views=16",
    "targets.synthetic.samples=2",
    "targets.synthetic.light_samples=12",
    "material.base_color.resolution=64",
    "material.roughness.resolution=64",
    "material.metallic.resolution=64",
    "optimize.steps=60",
)


def test_materials_and_light_come_nearer_to_the_truth() -> None:
    with threads_to_kernels(1):
        setup = build_fit(load_config(SCENE, SMALL))
        heldout = setup.heldout_views
        assert setup.target_scene is not None and heldout is not None
        evaluator = MaterialEvaluator(setup.target_scene, heldout.cameras, setup.relit, setup.render_views)
        result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
        before, after = evaluator.report(setup.scene), evaluator.report(result.scene)
        assert before is not None and after is not None
        assert before.relight is not None and after.relight is not None
        unseen = [
            evaluate_views(scene, heldout, setup.render_views)["psnr_db"] for scene in (setup.scene, result.scene)
        ]
    assert after.base_color_psnr_db > before.base_color_psnr_db + 5
    assert after.share_mae["roughness"] < before.share_mae["roughness"] - 0.025
    assert unseen[1] > unseen[0] + 7
    assert after.relight["psnr_db"] > before.relight["psnr_db"] + 3
