"""Vignetting and response: what they do to pictures, how they are found, and what held-out views have of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.shapes import bumpy, placed, scene_of

from diffrender.app.evaluation import match_heldout
from diffrender.config.load import parse_config
from diffrender.errors import ConfigError, ShapeError
from diffrender.evaluate.exposure import EXPOSURE, match_exposure, with_gains, with_shared_lens
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import FitResult, fit
from diffrender.imaging.response import respond, straight_response
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.render.render import render
from diffrender.scene.cameras import LEAST_LIGHT, Cameras
from diffrender.scene.lights import Ambient
from diffrender.scene.materials import Lambert
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.target_views import Views
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.writers.cameras import write_transforms

EYES = torch.tensor([[0.0, 0.5, 3.0], [3.0, 0.5, 0.0], [0.0, 3.0, 0.1]])
# A lens that passes 0.65 of the light in the corners, and a camera with deeper shadows than sRGB.
VIGNETTING = torch.tensor([-0.35, 0.1, -0.1])
CURVE = straight_response() ** 1.25


def ball():
    scene = scene_of(placed(bumpy(2), Lambert(torch.tensor([0.6, 0.4, 0.3]))), lights={"sky": Ambient(torch.ones(3))})
    return replace(scene, background=torch.tensor([0.1, 0.2, 0.3]))


def cameras(height=24, width=24):
    return Cameras.perspective(EYES, height=height, width=width)


def with_lens(plain, vignetting=VIGNETTING, response=CURVE):
    rows = len(plain)
    return replace(plain, vignetting=vignetting.repeat(rows, 1), response=response.repeat(rows, 1))


def test_light_is_lost_by_the_distance_from_the_principal_point_in_half_diagonals():
    lens = replace(
        cameras(30, 40), center_px=torch.tensor([[20.5, 15.5]]).expand(3, 2), vignetting=VIGNETTING.repeat(3, 1)
    )
    passed = lens.vignetting_factors()
    assert passed is not None and passed.shape == (3, 30, 40)
    assert float(passed[0, 15, 20]) == 1
    r = 10 / 25  # a diagonal of 50
    assert float(passed[0, 15, 30]) == pytest.approx(1 - 0.35 * r**2 + 0.1 * r**4 - 0.1 * r**6)
    assert float(passed[0, 25, 20]) == pytest.approx(float(passed[0, 15, 30]))
    smaller = lens.resized(15, 20).vignetting_factors()
    torch.testing.assert_close(smaller[0], passed[0].unfold(0, 2, 2).unfold(1, 2, 2).mean((2, 3)), atol=2e-3, rtol=0)
    dark = replace(lens, vignetting=torch.tensor([[-50.0, 0.0, 0.0]]).repeat(3, 1)).vignetting_factors()
    assert float(dark.min()) == pytest.approx(LEAST_LIGHT)


def test_pictures_are_exposed_then_vignetted_then_bent_and_coverage_is_not():
    plain = render(ball(), cameras()).rgba
    lens = replace(with_lens(cameras()), exposure=torch.tensor([0.5, -0.5, 0.0]))
    exposed = plain[..., :3] * lens.gains()[:, None, None] * lens.vignetting_factors()[..., None]
    found = render(ball(), lens, aovs=("normal", "color"))
    torch.testing.assert_close(found.aov("color"), respond(exposed, lens.response))
    assert torch.equal(found.coverage, plain[..., 3])
    assert torch.equal(found.aov("normal"), render(ball(), cameras(), aovs=("normal", "color")).aov("normal"))
    assert lens.is_exposed() and not lens.without_gains().is_exposed()
    assert torch.equal(render(ball(), lens.without_gains()).rgba, plain)


def test_gains_of_held_out_pictures_are_matched_to_light_without_the_response():
    stops = torch.tensor([0.8, -1.0, 0.3])
    taken = replace(with_lens(cameras(48, 48)), exposure=stops)
    views = replace(synthetic_views(ball(), taken), cameras=replace(taken, exposure=None))
    found = match_exposure(ball(), views, render, (EXPOSURE,))
    torch.testing.assert_close(found.exposure, stops, rtol=0, atol=0.01)
    assert torch.equal(found.response, taken.response)


def test_views_that_were_not_fitted_get_what_is_learned_of_a_shared_lens_and_nothing_else():
    zero = torch.zeros(3)
    start = replace(cameras(), projection=RadialTangential(zero, zero, zero, zero))
    end = replace(
        with_lens(start),
        focal_px=start.focal_px * 1.1,
        center_px=start.center_px + 2,
        projection=RadialTangential(zero + 0.05, zero + 0.01, zero, zero),
    )
    other = start.select([0, 1]).resized(48, 48)
    paths = [f"cameras.{name}" for name in ("focal", "center", "k1", "vignetting", "response")]
    found = with_shared_lens(other, start, end, paths)
    torch.testing.assert_close(found.focal_px, other.focal_px * 1.1)
    torch.testing.assert_close(found.center_px, other.center_px + 4)
    assert found.projection.parameters()["k1"].tolist() == pytest.approx([0.05, 0.05])
    assert found.projection.parameters()["k2"].tolist() == [0, 0]
    assert torch.equal(found.vignetting, end.vignetting[:2]) and torch.equal(found.response, end.response[:2])
    assert with_shared_lens(other, start, end, ()).focal_px is other.focal_px


SCENE = """
targets:
  resolution: 48
  test_every: 6
  synthetic:
    mesh: &shape {init: bumpy, subdivisions: 2}
    material: {type: lambert, base_color: [0.6, 0.35, 0.2]}
    lights: &lights [{name: sun, type: directional, radiance: 2.5}, {name: sky, type: ambient, radiance: 0.4}]
    views: 18
    fov_deg: 32
    samples: 4
mesh: *shape
material: {type: lambert, base_color: {vertex: 0.4}}
lights: *lights
optimize:
  steps: 200
  batch_size: 6
  mesh.vertices: off
  material.base_color: {lr: 0.05, schedule: cosine}
"""
LEARNED = "  cameras.vignetting: {}\n  cameras.response: {}\n"


def taken_with(views: Views, vignetting: torch.Tensor, response: torch.Tensor) -> Views:
    lens = with_lens(views.cameras, vignetting, response)
    passed = lens.vignetting_factors()
    assert passed is not None and lens.response is not None
    return replace(views, images=respond(views.images * passed[..., None], lens.response))


def fitted(more: str, vignetting: torch.Tensor, response: torch.Tensor) -> tuple[FitSetup, FitResult, dict[str, float]]:
    """Fit colours of pictures with this lens; the scores are those of held-out views."""
    setup = build_fit(parse_config(SCENE + more, Path()))
    assert setup.heldout_views is not None
    seen = [taken_with(views, vignetting, response) for views in (setup.fit_views, setup.heldout_views)]
    setup = replace(setup, fit_views=seen[0], heldout_views=seen[1])
    result = fit(setup.model, seen[0], setup.objective, setup.optimizer, setup.settings, setup.render_step)
    judged = match_heldout(setup, result.scene, refine=False, fitted=result.cameras)
    assert judged is not None
    return setup, result, evaluate_views(result.scene, judged, setup.render_views)


@pytest.mark.slow
def test_vignetting_and_response_are_found_with_the_colours_and_unseen_views_are_better_for_it():
    """The light that the lens passes within 2 % where the object is, the curve within .02 of its range, colours 7 %."""
    _, _, without = fitted("", VIGNETTING, CURVE)
    _, result, scores = fitted(LEARNED, VIGNETTING, CURVE)
    assert scores["psnr_masked_db"] > 47 > without["psnr_masked_db"] + 7
    found = result.cameras
    assert found.vignetting is not None and found.response is not None
    true = with_lens(found).vignetting_factors()
    learned = found.vignetting_factors()
    assert true is not None and learned is not None
    inside = true > float(true.min()) + 0.35 * (1 - float(true.min()))  # up to four fifths of the way to the corners
    assert float((learned / true - 1).abs()[inside].max()) < 0.02
    torch.testing.assert_close(found.response[0], CURVE, atol=0.02, rtol=0)
    color = result.scene.objects["object"].material.base_color.mean(0)  # type: ignore[attr-defined]
    torch.testing.assert_close(color, torch.tensor([0.6, 0.35, 0.2]), rtol=0.07, atol=0)
    # One lens: every row is the same.
    assert torch.equal(found.vignetting, found.vignetting[:1].expand_as(found.vignetting))


@pytest.mark.slow
def test_pictures_of_a_plain_lens_are_not_made_worse():
    _, _, without = fitted("", torch.zeros(3), straight_response())
    _, result, scores = fitted(LEARNED, torch.zeros(3), straight_response())
    assert scores["psnr_masked_db"] > without["psnr_masked_db"] - 0.3
    torch.testing.assert_close(result.cameras.vignetting[0], torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(result.cameras.response[0], straight_response(), atol=0.02, rtol=0)


def test_lenses_of_each_picture_and_of_all_start_neutral_and_one_lens_needs_equal_starts():
    for shared, shape in (("true", (3,)), ("false", (15, 3))):
        setup = build_fit(parse_config(SCENE + f"  cameras.vignetting: {{shared: {shared}}}\n", Path()))
        assert setup.model.latents["cameras.vignetting"].shape == shape
        assert torch.equal(setup.model.cameras().vignetting, torch.zeros(15, 3))
    uneven = with_gains(setup.fit_views.cameras, ("cameras.vignetting",))
    uneven.vignetting[0] = 0.1
    method = build_fit(parse_config(SCENE + "  cameras.vignetting: {}\n", Path())).model.parametrization(
        "cameras.vignetting"
    )
    with pytest.raises(ShapeError, match="same for all 15 cameras"):
        method.latent_of(uneven.vignetting)


def test_a_background_that_no_lens_saw_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (200, 100, 50, 128)).save(tmp_path / "a.png")
    write_transforms(tmp_path / "transforms.json", cameras(8, 8).select([0]), ["a.png"])
    text = f"targets: {{path: '{tmp_path}', background: white}}\noptimize: {{cameras.vignetting: }}\n"
    with pytest.raises(ConfigError, match=r"optimize\.cameras\.vignetting: .*set background: black"):
        build_fit(parse_config(text, Path()))
    # One picture is enough: the lens is not its own.
    assert build_fit(parse_config(text.replace("white", "black"), Path())).fit_views.cameras.vignetting is not None
