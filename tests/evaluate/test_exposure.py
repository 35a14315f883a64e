"""Exposure and white balance: gains of pictures, how they are learned, and how held-out views are evaluated."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from support.shapes import bumpy, placed, scene_of

from diffrender.app.evaluation import match_heldout
from diffrender.app.run import run_fit
from diffrender.config.load import parse_config
from diffrender.config.options.targets import SyntheticOptions
from diffrender.errors import ConfigError
from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE, match_exposure
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import FitResult, fit
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.render.edge_models import Antialias, Hard, Soft
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Lambert
from diffrender.scene.target_views import Views
from diffrender.setup.exposure import synthetic_gains
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.saved_scene import load_scene
from diffrender.writers.cameras import write_transforms

LIT = {
    "sun": Directional(torch.tensor([-1.0, -1.0, -0.5]), torch.full((3,), 2.5)),
    "sky": Ambient(torch.full((3,), 0.4)),
}
EYES = torch.tensor([[0.0, 0.5, 3.0], [3.0, 0.5, 0.0], [0.0, 3.0, 0.1]])
STOPS = torch.tensor([1.0, -1.0, 0.3])
BALANCE = torch.tensor([[1.2, 1.0, 0.8], [0.9, 1.1, 1.0], [1.0, 1.0, 1.0]])


def ball():
    scene = scene_of(placed(bumpy(2), Lambert(torch.tensor([0.6, 0.4, 0.3]))), lights=LIT)
    return replace(scene, background=torch.tensor([0.1, 0.2, 0.3]))


def cameras(size=24):
    return Cameras.perspective(EYES, height=size, width=size)


@pytest.mark.parametrize("edges", [Hard(), Antialias(), Soft(1.0)], ids=lambda each: type(each).__name__)
def test_pictures_are_multiplied_with_their_background_and_coverage_is_not(edges):
    plain = render(ball(), cameras(), edges).rgba
    exposed = render(ball(), replace(cameras(), exposure=STOPS, white_balance=BALANCE), edges).rgba
    gains = 2 ** STOPS[:, None] * BALANCE
    torch.testing.assert_close(exposed[..., :3], plain[..., :3] * gains[:, None, None])
    assert torch.equal(exposed[..., 3], plain[..., 3])


def test_other_aovs_know_no_exposure():
    aovs = ("normal", "color", "depth")
    plain = render(ball(), cameras(), aovs=aovs)
    exposed = render(ball(), replace(cameras(), exposure=STOPS), aovs=aovs)
    for name in ("normal", "depth"):
        assert torch.equal(exposed.aov(name), plain.aov(name))
    torch.testing.assert_close(exposed.aov("color"), plain.aov("color") * 2 ** STOPS[:, None, None, None])


def test_gains_go_along_with_their_cameras():
    some = replace(cameras(), exposure=STOPS, white_balance=BALANCE)
    picked = some.select([2, 0]).to("cpu").resized(12, 12)
    assert torch.equal(picked.gains(), some.gains()[[2, 0]])
    assert picked.without_gains().gains() is None
    assert torch.equal(replace(some, white_balance=None).gains(), 2 ** STOPS[:, None].expand(3, 3))


@pytest.mark.parametrize(("paths", "balance"), [((EXPOSURE,), None), ((EXPOSURE, WHITE_BALANCE), BALANCE)])
def test_pictures_of_the_scene_itself_are_matched_exactly(paths, balance):
    taken = replace(cameras(), exposure=STOPS, white_balance=balance)
    views = replace(synthetic_views(ball(), taken), cameras=cameras())
    found = match_exposure(ball(), views, lambda scene, each: render(scene, each, Antialias(8)), paths)
    torch.testing.assert_close(found.gains(), taken.gains(), rtol=5e-3, atol=0)
    assert match_exposure(ball(), views, render, ()) is views.cameras


@pytest.mark.parametrize("learned", [EXPOSURE, WHITE_BALANCE])
def test_gains_that_are_known_stay_and_only_the_rest_is_matched(learned):
    """Casts so strong that ignoring them would change the mean over channels of the rendering."""
    balance = torch.tensor([[2.0, 1.0, 0.5]]).expand(3, 3)
    taken = replace(cameras(), exposure=STOPS, white_balance=balance)
    unknown = {"exposure": None} if learned == EXPOSURE else {"white_balance": None}
    views = replace(synthetic_views(ball(), taken), cameras=replace(taken, **unknown))
    found = match_exposure(ball(), views, lambda scene, each: render(scene, each, Antialias(8)), (learned,))
    torch.testing.assert_close(found.exposure, STOPS, rtol=0, atol=7e-3)
    torch.testing.assert_close(found.white_balance, balance, rtol=5e-3, atol=0)


@pytest.mark.parametrize("known", [None, torch.full((3,), 0.5)], ids=["none", "half a stop"])
def test_with_only_the_white_balance_learned_each_channel_has_a_gain_of_its_own(known):
    taken = replace(cameras(), exposure=STOPS, white_balance=BALANCE)
    views = replace(synthetic_views(ball(), taken), cameras=replace(cameras(), exposure=known))
    found = match_exposure(ball(), views, lambda scene, each: render(scene, each, Antialias(8)), (WHITE_BALANCE,))
    torch.testing.assert_close(found.gains(), taken.gains(), rtol=5e-3, atol=0)
    assert found.white_balance is not None
    torch.testing.assert_close(found.white_balance.log2().mean(1), torch.zeros(3), rtol=0, atol=1e-6)


def test_clipped_highlights_say_nothing():
    taken = replace(cameras(), exposure=torch.tensor([2.0, 1.5, 1.0]))
    views = synthetic_views(ball(), taken)
    views = replace(views, images=views.images.clamp_max(1), cameras=cameras())
    assert (views.images[0] == 1).float().mean() > 0.05
    found = match_exposure(ball(), views, render, (EXPOSURE,))
    torch.testing.assert_close(found.exposure, taken.exposure, rtol=0, atol=0.05)


def test_a_picture_that_shows_nothing_keeps_finite_gains():
    views = synthetic_views(replace(ball(), background=torch.zeros(3)), cameras())
    away = replace(views, cameras=replace(cameras(), center_px=cameras().center_px + 1000))
    found = match_exposure(replace(ball(), background=torch.zeros(3)), away, render, (EXPOSURE, WHITE_BALANCE))
    assert torch.equal(found.gains(), torch.ones(3, 3))


SCENE = """
targets:
  resolution: 32
  synthetic: &truth
    mesh: &shape {init: bumpy, subdivisions: 2}
    material: {type: lambert, base_color: [0.6, 0.35, 0.2]}
    lights: &lights [{name: sun, type: directional, radiance: 2.5}, {name: sky, type: ambient, radiance: 0.4}]
    views: 12
    samples: 4
    exposure_stops: 1
    color_cast: 0.2
mesh: *shape
material: {type: lambert, base_color: {vertex: 0.4}}
lights: *lights
optimize:
  steps: 120
  batch_size: 5
  mesh.vertices: off
  material.base_color: {lr: 0.05, schedule: cosine}
"""
LEARNED = "  cameras.exposure: {lr: 0.05, schedule: cosine}\n  cameras.white_balance: {lr: 0.02, schedule: cosine}\n"


def fitted(text: str) -> tuple[FitSetup, FitResult]:
    setup = build_fit(parse_config(text, Path()))
    return setup, fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)


@pytest.mark.slow
def test_exposures_and_colour_casts_are_recovered_and_the_colours_are_better_for_it():
    """The exposures of the targets differ by up to a stop either way, their casts by up to a fifth per channel."""
    setup, result = fitted(SCENE + LEARNED)
    options = SyntheticOptions(exposure_stops=1, color_cast=0.2)
    everywhere = Cameras.perspective(torch.randn(12, 3), height=32, width=32)
    truth = synthetic_gains(everywhere, options).gains()
    is_heldout = torch.arange(12) % 8 == 0
    true_gains = truth[~is_heldout].log2()
    assert float(true_gains.amax() - true_gains.amin()) > 1.9
    # The common brightness and cast of all pictures belong to the scene.
    level = true_gains.mean(0)
    found = result.cameras.gains().log2()
    assert float((found - (true_gains - level)).abs().max()) < 0.03  # 2 %
    torch.testing.assert_close(found.mean(0), torch.zeros(3), atol=1e-5, rtol=0)

    heldout = setup.heldout_views
    assert heldout is not None and heldout.cameras.gains() is None
    neutral = heldout.images / truth[is_heldout][:, None, None] * 2**level
    judged = replace(heldout, images=neutral)
    plain_setup, plain = fitted(SCENE)
    score = evaluate_views(result.scene, judged, setup.render_views)["psnr_masked_db"]
    without = evaluate_views(plain.scene, judged, plain_setup.render_views)["psnr_masked_db"]
    assert score > 38 and score > without + 10
    # In pictures as they were taken, held-out views are judged at their best exposure.
    at_best = match_heldout(setup, result.scene, result.cameras, refine=False)
    assert at_best is not None
    assert evaluate_views(result.scene, at_best, setup.render_views)["psnr_masked_db"] > 38


def test_overexposed_pictures_do_not_pull_down_their_exposure() -> None:
    """8-bit files clip at 1, here for more than a tenth of the object."""
    setup = build_fit(parse_config(SCENE.replace("radiance: 2.5", "radiance: 4") + LEARNED, Path()))
    views = replace(setup.fit_views, images=setup.fit_views.images.clamp_max(1))
    assert views.masks is not None and float((views.images == 1).any(-1)[views.masks > 0.5].float().mean()) > 0.1
    result = fit(setup.model, views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    everywhere = Cameras.perspective(torch.randn(12, 3), height=32, width=32)
    truth = synthetic_gains(everywhere, SyntheticOptions(exposure_stops=1, color_cast=0.2)).gains()
    wanted = truth[torch.arange(12) % 8 != 0].log2()
    found = result.cameras.gains().log2()
    assert float((found - (wanted - wanted.mean(0))).abs().max()) < 0.02


def photographed(folder: Path, targets: str, alpha: int = 128) -> str:
    """A capture of two pictures, the second with this transparency, and a scene file with these options of targets."""
    Image.new("RGBA", (8, 8), (200, 100, 50, 255)).save(folder / "a.png")
    Image.new("RGBA", (8, 8), (100, 50, 25, alpha)).save(folder / "b.png")
    write_transforms(folder / "transforms.json", cameras(8).select([0, 1]), ["a.png", "b.png"])
    return f"targets: {{path: '{folder}', {targets}}}\noptimize: {{cameras.exposure: }}\n"


@pytest.mark.parametrize(
    ("targets", "scene"),
    [
        ("background: white", ""),
        ("", "background: white\n"),
        # Random colours replace the scene's own background, which is exposed only in the renderings.
        ("background: random", "background: white\n"),
        # Transparent pixels are filled with the background, with or without masks.
        ("masks: false", "background: white\n"),
    ],
)
def test_what_no_camera_exposed_is_refused(tmp_path: Path, targets: str, scene: str) -> None:
    text = photographed(tmp_path, targets)
    with pytest.raises(ConfigError, match=r"exposure scales the whole image.* set background: black"):
        build_fit(parse_config(text + scene, Path()))
    # The proposed remedy works with all other options.
    assert build_fit(parse_config(text + "background: black\n", Path())).learned_gains() == [EXPOSURE]


def test_pictures_without_gaps_are_exposed_together_with_their_background(tmp_path: Path) -> None:
    text = photographed(tmp_path, "masks: false", alpha=255) + "background: white\n"
    assert build_fit(parse_config(text, Path())).learned_gains() == [EXPOSURE]
    assert build_fit(parse_config(photographed(tmp_path, "background: random"), Path())).learned_gains() == [EXPOSURE]


def test_one_picture_has_no_exposure_of_its_own() -> None:
    text = "targets: {test_every: null, resolution: 16, synthetic: {views: 1, samples: 1}}\n"
    text += "optimize: {cameras.white_balance: }"
    with pytest.raises(ConfigError, match=r"optimize\.cameras\.white_balance: needs at least 2 fitted views, got 1"):
        build_fit(parse_config(text, Path()))


def test_a_run_says_how_each_picture_was_exposed(tmp_path: Path) -> None:
    short = "progress: {pictures: 2, video: false, turntable: false}\nexport: [obj]\n"
    config = parse_config(SCENE.replace("steps: 120", "steps: 3") + LEARNED + short, Path())
    folder = run_fit(config, "exposed", None, tmp_path, Console(file=io.StringIO())).folder
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["heldout_gains"] == "one gain per view and channel, by least squares"
    # With matched exposures even the initial scene is close.
    assert metrics["initial"]["heldout"]["psnr_masked_db"] > metrics["initial"]["fit"]["psnr_masked_db"] + 2
    scene, cameras, *_ = load_scene(folder / "scene.pt")
    frames = json.loads((folder / "cameras" / "transforms.json").read_text())["frames"]
    assert cameras.exposure is not None and cameras.white_balance is not None
    torch.testing.assert_close(torch.tensor([frame["exposure"] for frame in frames[: len(cameras)]]), cameras.exposure)
    report = (folder / "report.html").read_text()
    assert "exposed to match" in report
    assert f"view_001 {float(cameras.exposure[0]):+.2f}, view_002" in report and "stops" in report
    assert "gains of red, green, blue" in report
    torch.testing.assert_close(render(scene, cameras).rgba, render(scene, cameras.without_gains()).rgba * torch.cat(
        [cameras.gains(), torch.ones(len(cameras), 1)], 1)[:, None, None])  # type: ignore[list-item]  # fmt: skip


def test_gains_are_matched_to_what_is_known():
    exposed = replace(cameras(), exposure=STOPS)
    images = render(ball(), exposed).rgba[..., :3]
    weights = torch.ones(3, 24, 24)
    weights[:, :, :9] = 0
    images[:, :, :9] = torch.nan
    views = Views(cameras(), images, None, ("a", "b", "c"), weights=weights)
    found = match_exposure(ball(), views, render, [EXPOSURE])
    torch.testing.assert_close(found.exposure, STOPS)
