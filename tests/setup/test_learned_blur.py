"""`cameras.blur` in a fit: where it starts, and that held-out views have the lens of the fitted ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny_fit import TARGETS, built

from diffrender.app.evaluation import Evaluator
from diffrender.config.load import parse_config
from diffrender.errors import ConfigError
from diffrender.setup.fit_setup import build_fit

BLURRED = "mesh: {subdivisions: 1}\noptimize: {steps: 3, batch_size: 2, cameras.blur: {lr: 0.1}}\n"


def test_it_starts_at_a_pixel_and_is_one_positive_number():
    setup = built(BLURRED)
    assert float(setup.fit_views.cameras.blur_px) == 1.0
    assert setup.model.latents["cameras.blur"].shape == ()
    assert setup.config.optimize.parameters()["cameras.blur"].method == "positive"
    assert built("mesh: {subdivisions: 1}").fit_views.cameras.blur_px is None


def test_held_out_views_are_scored_through_the_lens_of_the_fitted_ones():
    setup = built(BLURRED)
    evaluator, cameras = Evaluator(setup), setup.fit_views.cameras
    first, second = (
        evaluator.evaluate(setup.scene, replace(cameras, blur_px=torch.tensor(sigma))) for sigma in (0.0, 1.5)
    )
    assert float(second.heldout.blur_px) == 1.5
    assert first.views["heldout"][0].psnr_db != pytest.approx(second.views["heldout"][0].psnr_db, abs=0.01)
    assert first.views["heldout"][0].mask_iou == second.views["heldout"][0].mask_iou


def test_random_backgrounds_are_refused():
    with pytest.raises(ConfigError, match=r"optimize\.cameras\.blur: random backgrounds .* targets.background"):
        build_fit(parse_config(TARGETS.replace("resolution", "background: random\n  resolution") + BLURRED, Path()))
