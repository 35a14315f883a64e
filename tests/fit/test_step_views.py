import math
from dataclasses import replace

import pytest
import torch
from fit_fakes import blob_cameras, blob_scene, blob_views, render_blob
from test_fit_loop import COLOR, OBJECTIVE, POSE, SCALE, Watcher, problem

from diffrender.errors import ConfigError
from diffrender.fit.loop import FitSettings, fit
from diffrender.fit.optimizer import Rate
from diffrender.fit.step_views import ResolutionSchedule, StepViews
from diffrender.imaging.filters import resize_area

RATES = {COLOR: Rate(0.1), SCALE: Rate(0.03), POSE: Rate(0.03)}


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
    views_depth = replace(views, buffers={"depth": torch.rand(4, 24, 30, 1)})
    steps = StepViews(views_depth, ResolutionSchedule(0.5, 4), False, 0)
    same, small_cameras, small = steps.at(scene, cameras, torch.tensor([2, 0]), 3)
    assert same is scene
    assert (small_cameras.height, small_cameras.width) == (12, 15)
    torch.testing.assert_close(small_cameras.focal_px, cameras.focal_px[[2, 0]] / 2)
    torch.testing.assert_close(small.cameras.focal_px, small_cameras.focal_px)
    torch.testing.assert_close(small.images, resize_area(views.images, 12, 15)[[2, 0]])
    torch.testing.assert_close(small.masks, resize_area(views.masks[..., None], 12, 15)[[2, 0], ..., 0])
    torch.testing.assert_close(small.buffers["depth"], resize_area(views_depth.buffers["depth"], 12, 15)[[2, 0]])
    _, whole_cameras, whole = steps.at(scene, cameras, None, 4)
    assert whole.images is views.images
    assert whole_cameras is cameras


def test_a_background_over_another_is_what_rendering_over_it_gives():
    scene, cameras, _, steps = shown(random=True)
    for step in (0, 7):
        other, _, views = steps.at(scene, cameras, torch.tensor([1, 3]), step)
        rgba = render_blob(other, cameras.select(torch.tensor([1, 3]))).rgba
        torch.testing.assert_close(views.images, rgba[..., :3])
        torch.testing.assert_close(views.masks, rgba[..., 3])


def test_backgrounds_depend_on_seed_and_step_alone_and_fill_the_colours():
    def colors(seed, steps):
        scene, cameras, _, shown_views = shown(random=True, seed=seed, n_views=2)
        return [shown_views.at(scene, cameras, None, step)[0].background.tolist() for step in steps]

    first = colors(0, range(200))
    assert colors(0, [150, 3]) == [first[150], first[3]]
    assert colors(1, range(20)) != first[:20]
    assert len({tuple(color) for color in first}) == 200
    values = torch.tensor(first)
    assert bool(((values >= 0) & (values <= 1)).all())
    # Even in sRGB: its middle is 0.214 in linear light.
    assert values.median(0).values.tolist() == pytest.approx([0.214] * 3, abs=0.1)


def test_a_fit_with_both_finds_what_it_looks_for_and_goes_on_from_a_checkpoint():
    settings = FitSettings(40, 2, 3, ResolutionSchedule(0.5, 20), True)
    runs = []
    for first in (0, 12):
        model, views, optimizer = problem(RATES, 40, 24, 30)
        watcher = Watcher()
        if first:  # as far as the other run, then on
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
    with pytest.raises(ConfigError, match="random wants masks"):
        FitSettings(5, random_background=True).check(replace(views, masks=None))
    small = FitSettings(5, resolution=ResolutionSchedule(0.25, 3))
    with pytest.raises(ConfigError, match=r"images of 15 x 12 become 4 x 3 at a scale of 0\.25"):
        fit(model, views, OBJECTIVE, optimizer, small, render_blob)
