import math
from dataclasses import replace

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, output_of, render_blob
from test_fit_loop import COLOR, OBJECTIVE, POSE, SCALE, Watcher, problem

from diffrender.errors import ConfigError
from diffrender.fit.batch_targets import ResolutionSchedule, StepViews
from diffrender.fit.loop import FitSettings, fit
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.filters import resize_area
from diffrender.scene.target_views import Views

RATES = {COLOR: ParamSettings(0.1), SCALE: ParamSettings(0.03), POSE: ParamSettings(0.03)}


def shown(resolution=None, random=False, seed=0, n_views=4, height=24, width=30):
    scene, cameras = blob_scene(), blob_cameras(n_views, height, width)
    views = blob_views(scene, cameras)
    return scene, cameras, views, StepViews(views, resolution or ResolutionSchedule(), random, seed)


def test_sizes_double_and_share_the_steps():
    schedule = ResolutionSchedule(0.25, 10)
    assert [schedule.at(step) for step in (0, 4, 5, 9, 10, 99)] == [0.25, 0.25, 0.5, 0.5, 1, 1]
    assert [ResolutionSchedule(0.3, 10).at(step) for step in (0, 5, 10)] == [0.3, 0.6, 1]
    assert [ResolutionSchedule(0.5, 3).at(step) for step in (0, 2, 3)] == [0.5, 0.5, 1]
    assert {ResolutionSchedule().at(step) for step in range(5)} == {1}
    scales = [ResolutionSchedule(0.1, 7).at(step) for step in range(9)]
    assert scales == sorted(scales)


@pytest.mark.parametrize("options", [(0.0, 5), (1.5, 5), (-1, 5), (math.nan, 5), (0.5, 0)])
def test_senseless_schedules_are_refused(options):
    with pytest.raises(ConfigError, match="resolution: "):
        ResolutionSchedule(*options)


def test_smaller_views_are_area_means_seen_by_smaller_cameras():
    scene, cameras, views, steps = shown(ResolutionSchedule(0.5, 4))
    views_depth = replace(views, aovs={"depth": torch.rand(4, 24, 30, 1)})
    steps = StepViews(views_depth, ResolutionSchedule(0.5, 4), False, 0)
    small_cameras, small = steps.at(cameras, torch.tensor([2, 0]), 3)
    assert (small_cameras.height, small_cameras.width) == (12, 15)
    torch.testing.assert_close(small_cameras.focal_px, cameras.focal_px[[2, 0]] / 2)
    torch.testing.assert_close(small.cameras.focal_px, small_cameras.focal_px)
    torch.testing.assert_close(small.images, resize_area(views.images, 12, 15)[[2, 0]])
    torch.testing.assert_close(small.masks, resize_area(views.masks[..., None], 12, 15)[[2, 0], ..., 0])
    torch.testing.assert_close(small.aovs["depth"], resize_area(views_depth.aovs["depth"], 12, 15)[[2, 0]])
    whole_cameras, whole = steps.at(cameras, None, 4)
    assert steps.draw_added_background(scene.background, 4, 0) is None
    assert whole.images is views.images
    assert whole_cameras is cameras


def test_smaller_views_are_means_of_what_is_known():
    _, cameras, views, _ = shown()
    views = replace(views, aovs={"depth": torch.rand(4, 24, 30, 1)})
    weights = torch.ones(4, 24, 30)
    weights[:, :, 15:17], weights[:, 20:] = 0, 0  # the first in the middle of new pixels and beside them
    garbage = replace(views, weights=weights, images=views.images.clone(), masks=views.masks.clone())
    garbage.images[weights == 0], garbage.masks[weights == 0] = math.nan, math.nan
    _, small = StepViews(garbage, ResolutionSchedule(0.5, 4), False, 0).at(cameras, None, 0)
    torch.testing.assert_close(small.weights[:, 0, 6:9], torch.tensor([[1, 0.5, 0.5]]).expand(4, 3))
    torch.testing.assert_close(small.images[:, 0, 7], views.images[:, :2, 14].mean(1))
    torch.testing.assert_close(small.masks[:, 0, 8], views.masks[:, :2, 17].mean(1))
    torch.testing.assert_close(small.aovs["depth"][:, 0, 7], views.aovs["depth"][:, :2, 14].mean(1))
    assert not small.images[:, 10:].any() and not small.masks[:, 10:].any() and not small.weights[:, 10:].any()


def test_a_background_over_another_is_what_rendering_over_it_gives():
    scene, cameras, views, steps = shown(random=True)
    added = steps.draw_added_background(scene.background, 4, 7)
    # A rendering that differs from its target in colour and coverage.
    (ball,) = scene.objects.values()
    wrong = replace(scene, objects={"ball": replace(ball, scale=torch.tensor(1.5))})
    found = LossInputs(render_blob(wrong, cameras), views, added).difference("srgb")
    for i in range(4):
        camera, background = cameras.select([i]), scene.background + added[i]
        rendered, target = (render_blob(replace(s, background=background), camera) for s in (wrong, scene))
        expected = srgb_from_linear(rendered.rgba[0, ..., :3]) - srgb_from_linear(target.rgba[0, ..., :3])
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=0)


def test_backgrounds_depend_on_seed_and_step_alone_and_are_the_corners_of_the_colours():
    background = blob_scene().background

    def colors(seed, steps):
        *_, shown_views = shown(random=True, seed=seed, n_views=2)
        return [background + shown_views.draw_added_background(background, 2, step) for step in steps]

    first = colors(0, range(200))
    assert all(torch.equal(a, b) for a, b in zip(colors(0, [150, 3]), [first[150], first[3]], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(colors(1, range(20)), first, strict=False))
    values = torch.stack(first)
    torch.testing.assert_close(values, values.round())
    counts = (values.round() @ torch.tensor([4.0, 2.0, 1.0])).long().reshape(-1).bincount(minlength=8)
    assert len(counts) == 8
    assert counts.min() > 25  # 50 expected of 400


@pytest.mark.parametrize("object_color", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("rim_color", [0.05, 0.5, 0.95])
def test_outlines_are_pulled_the_right_way_whatever_the_colours(object_color, rim_color):
    """A silhouette that begins to cover a pixel, which the target covers in another colour or not at all."""
    for covered, sign in ((1.0, -1), (0.0, 1)):
        mask = torch.full((40, 1, 1), covered)
        colors = object_color * mask[..., None].expand(-1, -1, -1, 3)
        views = Views(blob_cameras(40, 1, 1), colors, mask, tuple(map(str, range(40))))
        coverage = torch.full((40, 1, 1, 1), 0.02, requires_grad=True)
        rgba = torch.cat([(coverage * rim_color).expand(-1, -1, -1, 3), coverage], -1)
        added = StepViews(views, ResolutionSchedule(), True, 0).draw_added_background(torch.zeros(3), 40, 0)
        LossInputs(output_of(rgba), views, added).difference("linear").abs().sum().backward()
        assert bool((coverage.grad * sign > 0).all())


def test_a_fit_with_both_finds_what_it_looks_for_and_goes_on_from_a_checkpoint():
    settings = FitSettings(40, 2, 3, ResolutionSchedule(0.5, 20), True)
    runs = []
    for first in (0, 12):
        model, views, optimizer = problem(RATES, 40, 24, 30)
        watcher = Watcher()
        if first:  # the first steps, then the rest
            half = replace(settings, steps=first)
            fit(model, views, OBJECTIVE, optimizer, half, render_blob)
        runs.append((fit(model, views, OBJECTIVE, optimizer, settings, render_blob, [watcher], first), watcher))
    (whole, watcher), (resumed, _) = runs
    ball, other = (result.scene.objects["ball"] for result in (whole, resumed))
    assert torch.equal(ball.pose, other.pose)
    assert torch.equal(ball.material.base_color, other.material.base_color)
    assert (ball.material.base_color - blob_scene().objects["ball"].material.base_color).abs().max() < 0.1
    assert abs(float(ball.scale) - 1) < 0.1
    assert whole.scene.background.tolist() == blob_scene().background.tolist()
    assert watcher.records[-1].total < 0.3 * watcher.records[0].total


def test_what_does_not_suit_the_views_is_told():
    model, views, optimizer = problem(RATES)
    with pytest.raises(ConfigError, match="random needs masks"):
        FitSettings(5, random_background=True).check(replace(views, masks=None))
    small = FitSettings(5, resolution=ResolutionSchedule(0.25, 3))
    with pytest.raises(ConfigError, match=r"images of 15 x 12 become 4 x 3 at a scale of 0\.25"):
        fit(model, views, OBJECTIVE, optimizer, small, render_blob)
