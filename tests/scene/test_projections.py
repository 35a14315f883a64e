"""What holds for every projection, those of the table and one that bends lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.lenses import KINDS, RadialLens, lens
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views
from diffrender.setup.region import region_of_views

F64 = torch.float64


def cameras_of(name: str, dtype: torch.dtype = F64) -> Cameras:
    eyes = torch.tensor([[0.5, 1.0, 3.0], [-2.0, 0.3, 2.5]], dtype=dtype)
    pinhole = Cameras.perspective(eyes, fov_deg=50, height=60, width=80)
    projection = lens(KINDS[name], 2).map(lambda values: values.to(dtype))
    return replace(pinhole, projection=projection, near=projection.default_near)


def some_points(dtype: torch.dtype = F64) -> Tensor:
    return torch.rand(40, 3, generator=torch.Generator().manual_seed(3), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", KINDS)
def test_unproject_undoes_project(name: str, dtype: torch.dtype) -> None:
    cameras = cameras_of(name, dtype)
    points_c = some_points(dtype).expand(2, -1, -1) + torch.tensor([0.0, 0.0, 3.0], dtype=dtype)
    found = cameras.projection.project(points_c, cameras.focal_px, cameras.center_px)
    again = cameras.projection.unproject(
        found[..., :2] / found[..., 2:3], found[..., 3:], cameras.focal_px, cameras.center_px
    )
    assert found.dtype == again.dtype == dtype
    torch.testing.assert_close(again, points_c, atol=1e-5 if dtype == torch.float32 else 1e-11, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_rays_pass_through_their_pixels(name: str) -> None:
    cameras = cameras_of(name)
    xy_px = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(5), dtype=F64) * torch.tensor([80.0, 60.0])
    origin_w, direction_w = cameras.rays(xy_px)
    torch.testing.assert_close(direction_w.norm(dim=-1), torch.ones(2, 30, dtype=F64))
    for view in range(2):
        for distance in (0.7, 4.0):
            seen = cameras.world_to_pixels(origin_w[view] + distance * direction_w[view])[view]
            torch.testing.assert_close(seen[:, :2], xy_px[view], atol=1e-8, rtol=0)
        towards = cameras.directions_to_w(origin_w[view] + 2 * direction_w[view], torch.full((30,), view))
        torch.testing.assert_close(towards, -direction_w[view], atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_the_size_of_a_pixel_is_what_one_pixel_more_moves_a_point_by(name: str) -> None:
    cameras = cameras_of(name)
    depth, step = torch.full((2, 1), 3.0, dtype=F64), 1e-4
    middle = cameras.center_px[:, None]
    at, right = (
        cameras.projection.unproject(xy, depth[..., None], cameras.focal_px, cameras.center_px)
        for xy in (middle, middle + torch.tensor([step, 0.0], dtype=F64))
    )
    size = cameras.projection.pixel_size(depth, cameras.focal_px)
    torch.testing.assert_close((right - at)[..., 0] / step, size, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", KINDS)
def test_projecting_has_the_gradient_of_finite_differences(name: str) -> None:
    cameras = cameras_of(name)

    def projected(points: Tensor, focal: Tensor, *parameters: Tensor) -> Tensor:
        projection = type(cameras.projection)(*parameters)
        return replace(cameras, focal_px=focal, projection=projection).project(points)

    leaves = [some_points(), cameras.focal_px, *cameras.projection.parameters().values()]
    assert torch.autograd.gradcheck(projected, [leaf.clone().requires_grad_() for leaf in leaves])


def test_a_lens_that_bends_lines_is_rendered_and_finds_its_region() -> None:
    """Nothing but the projection knows of the lens: a ball in the middle looks larger by its stretch."""
    k1 = 0.4
    cameras = replace(
        Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), fov_deg=50, height=96, width=96),
        projection=RadialLens(torch.tensor([k1])),
    )
    ball = icosphere(4)
    scene = Scene({"ball": Object(Mesh(ball.vertices, ball.faces), Unlit(torch.ones(3)))})
    output = render(scene, cameras)
    # Tangents from the eye: the outline is at r = 1 / sqrt(3^2 - 1), which the lens moves to r (1 + k1 r^2).
    radius = 1 / 8**0.5
    expected_px = float(cameras.focal_px[0, 0]) * radius * (1 + k1 * radius**2)
    assert float(output.coverage.sum()) == pytest.approx(torch.pi * expected_px**2, rel=5e-3)
    views = Views(cameras, output.rgba[..., :3], output.coverage, ("one",))
    region = region_of_views(views)
    plain = region_of_views(replace(views, cameras=replace(cameras, projection=lens(KINDS["PINHOLE"], 1))))
    assert region.center == pytest.approx(plain.center, abs=1e-3) and region.radius == pytest.approx(
        plain.radius, rel=1e-5
    )
