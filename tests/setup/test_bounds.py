"""Boxes around what captures show: by what they state, masks, points, and cameras."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.shapes import bumpy, placed, scene_of

from diffrender.geometry.orbits import sphere_positions
from diffrender.geometry.primitives import box
from diffrender.readers.captures.capture import Capture
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.mesh import Mesh
from diffrender.scene.target_views import Views
from diffrender.setup.bounds import MARGIN, find_bounds

STRETCH = torch.tensor([1.5, 1.0, 0.6])


def shape() -> Mesh:
    mesh = bumpy(3)
    return replace(mesh, vertices=0.3 * mesh.vertices * STRETCH + torch.tensor([0.1, 0.0, -0.2]))


@pytest.fixture(scope="module")
def views() -> Views:
    cameras = Cameras.perspective(3 * sphere_positions(16, 1.0), fov_deg=35, height=96, width=96)
    return synthetic_views(scene_of(placed(shape())), cameras, 4)


def corners(mesh: Mesh) -> torch.Tensor:
    return torch.stack([mesh.vertices.amin(0), mesh.vertices.amax(0)])


def found(capture: Capture) -> tuple[torch.Tensor, str]:
    bounds = find_bounds(capture)
    assert bounds is not None
    return torch.stack([bounds.low, bounds.high]).float(), bounds.by


def test_masks_tell_the_box_of_their_hull(views: Views) -> None:
    box, by = found(Capture(views))
    away = (box - corners(shape())) * torch.tensor([[-1.0], [1.0]])
    size = float((corners(shape())[1] - corners(shape())[0]).max())
    assert by == "masks" and float(away.min()) > 0 and float(away.max()) < (MARGIN + 0.08) * size
    moved, _ = found(Capture(views, origin=(100.0, 200.0, -50.0)))
    torch.testing.assert_close(moved, box + torch.tensor([100.0, 200.0, -50.0]))
    stated = torch.tensor([[-1.0, -1, -1], [1, 2, 3]])
    assert torch.equal(found(Capture(views, aabb=stated))[0], stated)


def test_thin_legs_are_in_the_box() -> None:
    seat, legs = box((0.8, 0.06, 0.8)), []
    for x, z in ((-0.36, -0.36), (-0.36, 0.36), (0.36, -0.36), (0.36, 0.36)):
        leg = box((0.05, 0.8, 0.05))
        legs.append(leg._replace(vertices=leg.vertices + torch.tensor([x, -0.4, z])))
    objects = [placed(Mesh(part.vertices.float(), part.faces)) for part in (seat, *legs)]
    cameras = Cameras.perspective(3 * sphere_positions(16, 1.0), fov_deg=35, height=128, width=128)
    bounds, _ = found(Capture(synthetic_views(scene_of(*objects), cameras, 4)))
    low, high = bounds
    assert (low < torch.tensor([-0.4, -0.8, -0.4])).all() and (high > torch.tensor([0.4, 0.03, 0.4])).all()


def test_without_masks_points_tell_it_but_for_those_far_away_and_a_few_that_are_wrong(views: Views) -> None:
    mesh = shape()
    generator = torch.Generator().manual_seed(0)
    background = 40 * torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=1)
    wrong = 2 * (torch.rand(6, 3, generator=generator) - 0.5)
    points = torch.cat([mesh.vertices, background, wrong])
    box, by = found(Capture(replace(views, masks=None, images=torch.rand(views.images.shape)), points=points))
    away = (box - corners(mesh)) * torch.tensor([[-1.0], [1.0]])
    size = float((corners(mesh)[1] - corners(mesh)[0]).max())
    assert by.endswith("points") and float(away.min()) > 0 and float(away.max()) < (MARGIN + 0.05) * size


def test_without_either_what_all_cameras_see_or_nothing(views: Views) -> None:
    assert found(Capture(replace(views, masks=None)))[1] == "masks"  # before a backdrop of one colour
    busy = torch.rand(views.images.shape, generator=torch.Generator().manual_seed(0))
    plain = replace(views, masks=None, images=busy)
    box, by = found(Capture(plain))
    assert by == "what all cameras see"
    reach = 3 * float(torch.tensor(35.0).deg2rad().div(2).tan())
    torch.testing.assert_close(box, torch.tensor([[-reach] * 3, [reach] * 3]), atol=0.01, rtol=0)
    away = plain.cameras.cam_from_world.clone()
    away[:, :3] *= torch.tensor([1.0, -1.0, -1.0])[:, None]  # they look outwards
    assert find_bounds(Capture(replace(plain, cameras=replace(plain.cameras, cam_from_world=away)))) is None


def test_masks_that_do_not_meet_leave_it_to_the_points(views: Views) -> None:
    assert views.masks is not None
    moved = torch.stack([mask.roll(40 * (-1) ** i, 1) for i, mask in enumerate(views.masks)])
    box, by = found(Capture(replace(views, masks=moved), points=shape().vertices))
    assert by.endswith("points") and float((box - corners(shape())).abs().max()) < 0.25
