from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.target_views import Views
from diffrender.setup.region import INSIDE, region_of_box, region_of_views

EYES = torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 4.0], [-3.0, -1.0, 2.0], [1.0, 3.0, -3.0]])
PLACE = torch.tensor([0.3, -0.2, 0.1])


def disc_views(cameras: Cameras, center: torch.Tensor, radius: float) -> Views:
    """Return views whose masks are the discs of a ball."""
    x, y, depth = cameras.world_to_pixels(center[None])[:, 0].unbind(1)
    distance = torch.ones_like(depth) if cameras.projection == Orthographic() else depth
    radius_px = radius * cameras.focal_px[:, 0] / distance
    column = torch.arange(cameras.width) + 0.5
    row = torch.arange(cameras.height) + 0.5
    squared = (column[None, None, :] - x[:, None, None]) ** 2 + (row[None, :, None] - y[:, None, None]) ** 2
    masks = (squared < radius_px[:, None, None] ** 2).float()
    images = torch.zeros(len(cameras), cameras.height, cameras.width, 3)
    return Views(cameras, images, masks, tuple(map(str, range(len(cameras)))))


@pytest.mark.parametrize("orthographic", [False, True])
def test_masks_tell_where_a_ball_is_and_how_large(orthographic: bool) -> None:
    # The cameras look at the origin, not at the ball.
    make = Cameras.parallel if orthographic else Cameras.perspective
    region = region_of_views(disc_views(make(EYES, height=200, width=240), PLACE, 0.4))
    assert torch.tensor(region.center) == pytest.approx(PLACE, abs=0.02)
    assert region.radius == pytest.approx(INSIDE * 0.4, rel=0.03)


def test_without_masks_it_is_where_all_cameras_look_and_within_every_view() -> None:
    target = (0.2, 0.5, -0.3)
    cameras = Cameras.perspective(EYES, target, height=64, width=96)
    region = region_of_views(Views(cameras, torch.zeros(4, 64, 96, 3), None, tuple("abcd")))
    assert region.center == pytest.approx(target, abs=1e-4)
    surface = torch.tensor(target) + region.radius * torch.nn.functional.normalize(torch.randn(100, 3), dim=1)
    pixels = cameras.world_to_pixels(surface)
    assert bool(((pixels[..., :2] > 0) & (pixels[..., :2] < torch.tensor([96.0, 64.0]))).all())


def test_without_masks_a_photograph_counts_not_the_canvas_around_it() -> None:
    cameras = Cameras.perspective(EYES, (0, 0, 0), height=64, width=96)
    photos = Views(cameras, torch.zeros(4, 64, 96, 3), None, tuple("abcd"))
    on_canvas = Views(
        replace(cameras, height=200, width=200, center_px=cameras.center_px + torch.tensor([52.0, 68.0])),
        torch.zeros(4, 200, 200, 3), None, tuple("abcd"), boxes=torch.tensor([[68, 52, 64, 96]]).repeat(4, 1),
    )  # fmt: skip
    assert region_of_views(on_canvas).radius == pytest.approx(region_of_views(photos).radius)


def test_one_view_puts_it_on_its_ray_nearest_to_the_origin() -> None:
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 5.0]]), (0.1, 0.0, 0.0), height=64, width=64)
    region = region_of_views(Views(cameras, torch.zeros(1, 64, 64, 3), None, ("a",)))
    center = torch.tensor(region.center)
    ray = torch.nn.functional.normalize(torch.tensor([0.1, 0.0, -5.0]), dim=0)
    assert float(torch.linalg.cross(center - torch.tensor([0.0, 0.0, 5.0]), ray).norm()) < 1e-4
    assert abs(float(center @ ray)) < 1e-4


def test_a_box_holds_its_ball() -> None:
    low, high = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 1.0, 6.0])
    region = region_of_box(low, high)
    assert region.center == (0.0, 0.5, 4.0)
    assert region.radius == pytest.approx(INSIDE * 0.5)
