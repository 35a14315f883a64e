"""What views do not know does not move what is concluded from them before and after a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.shapes import bumpy, placed, scene_of

from diffrender.app.verdict.evidence import Case
from diffrender.app.verdict.target_checks import (
    TARGET_CHECKS,
    find_black_images,
    find_empty_masks,
    find_full_masks,
    find_inverted_masks,
)
from diffrender.app.verdict.value_checks import find_runaway_exposures
from diffrender.config.load import parse_config
from diffrender.evaluate.exposure import EXPOSURE
from diffrender.evaluate.views import score_views
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.target_views import Views
from diffrender.setup.best_defaults import choose_defaults
from diffrender.setup.careful_rates import start_psnr_db
from diffrender.setup.region import box_of_views, region_of_views

SCENE = scene_of(placed(bumpy(2), Unlit(torch.tensor([0.6, 0.4, 0.3]))))
LIT = scene_of(placed(bumpy(2), Lambert(torch.tensor([0.6, 0.4, 0.3]))))


def views_with(garbage: float) -> Views:
    """Pictures of a ball; `garbage` is where they know nothing: at two sides, over a part of the ball."""
    eyes = torch.tensor([[0.0, 0.0, 3.0], [3.0, 0.0, 0.0], [0.0, 0.5, -3.0], [-3.0, 1.0, 0.0]])
    cameras = Cameras.perspective(eyes, height=40, width=40)
    rgba = render(SCENE, cameras).rgba
    weights = torch.ones(4, 40, 40)
    weights[:, :15], weights[:, :, :6] = 0, 0
    weights[3, 30:] = 0
    images = (rgba[..., :3] + 0.1).masked_fill((weights == 0)[..., None], garbage)
    return Views(cameras, images, rgba[..., 3].masked_fill(weights == 0, garbage), tuple("abcd"), weights=weights)


def case_of(views: Views) -> Any:
    setup = SimpleNamespace(
        fit_views=views, scene=LIT, render_views=render, model=SimpleNamespace(latents={}), has_found_masks=False,
        target_scene=None,
    )  # fmt: skip
    return SimpleNamespace(views=views, setup=setup, shape_paths=["mesh.vertices"], compares_colors=True)


def runaway(views: Views) -> Any:
    setup = SimpleNamespace(learned_gains=lambda: [EXPOSURE])
    cameras = replace(views.cameras, exposure=torch.tensor([0.0, 9, 0, 0]))
    return find_runaway_exposures(
        SimpleNamespace(
            case=SimpleNamespace(setup=setup, views=views), result=SimpleNamespace(scene=SCENE, cameras=cameras)
        )
    )


CONFIG = parse_config(
    "targets: {synthetic: {mesh: sphere}}\nmesh: {init: visual_hull}\noptimize: {steps: 10}", Path.cwd()
)
CONCLUSIONS: dict[str, Callable[[Views], Any]] = {
    "the PSNR of the start": lambda views: start_psnr_db(SCENE, views),
    "the same without masks": lambda views: start_psnr_db(SCENE, replace(views, masks=None)),
    "the region": region_of_views,
    "the box": lambda views: [end.tolist() for end in box_of_views(views)],
    "the defaults": lambda views: choose_defaults(CONFIG, views).reasons,
    "the radius": lambda views: Case.mask_radius_px.func(SimpleNamespace(views=views)),
    "the scores": lambda views: [astuple(each) for each in score_views(SCENE, views, render)],
    "the checks of the targets": lambda views: [check(case_of(views)) for check in TARGET_CHECKS[:-3]],
    "the spread of the exposures": runaway,
}


@pytest.mark.parametrize("name", CONCLUSIONS)
def test_conclusions_do_not_depend_on_garbage(name: str) -> None:
    one, other = (CONCLUSIONS[name](views_with(garbage)) for garbage in (0.0, 1.0))
    assert one == other


def test_mistakes_are_found_in_what_is_known() -> None:
    views = views_with(1.0)
    unknown = views.weights == 0
    center = torch.zeros_like(views.masks)
    center[:, 18:26, 10:30] = 1
    planted = {
        find_black_images: replace(views, images=unknown[..., None].expand(-1, -1, -1, 3).float(), masks=None),
        find_empty_masks: replace(views, masks=unknown.float()),
        find_full_masks: replace(views, masks=(~unknown).float()),
        find_inverted_masks: replace(views, masks=torch.where(unknown, 0.0, 1 - center)),
    }
    for check, wrong in planted.items():
        assert check(case_of(wrong)) is not None, check.__name__
        assert check(case_of(views)) is None, check.__name__
