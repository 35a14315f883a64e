"""A lens that bends lines, known only to its projection: in the renderer, the region and the visual hull."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.lenses import RadialLens
from support.shapes import square
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.geometry.silhouette_distance import MaskDistanceField, MaskViews
from diffrender.geometry.subdivide import subdivide_midpoint
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.region import INSIDE, region_of_views

SIZE, DEPTH, SIDE = 48, 3.0, 1.8


def front_cameras(k1: Tensor) -> Cameras:
    """Return one camera on the +z axis, `DEPTH` from the origin."""
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, DEPTH]]), fov_deg=45, height=SIZE, width=SIZE)
    return replace(cameras, projection=RadialLens(k1))


def panel() -> Scene:
    """Return a square of many faces that faces the camera; red grows with x, green with y, from 0 to 1."""
    mesh = square(side=SIDE)
    for _ in range(5):
        mesh = Mesh(*subdivide_midpoint(mesh.vertices, mesh.faces)[:2])
    red_green = mesh.vertices[:, :2] / SIDE + 0.5
    colors = torch.cat([red_green, torch.ones(len(red_green), 1)], 1)
    return Scene({"panel": Object(mesh, Unlit(colors))}, {}, torch.zeros(3))


def panel_by_hand(k1: float, samples: int = 12) -> Tensor:
    """Compute the [SIZE, SIZE, 3] image of `panel` by the formula of the lens alone."""
    focal = SIZE / 2 / torch.tan(torch.deg2rad(torch.tensor(22.5, dtype=torch.float64)))
    place = ((torch.arange(SIZE * samples) + 0.5) / samples - SIZE / 2) / focal
    y, x = torch.meshgrid(place, place, indexing="ij")
    stretched = (x.square() + y.square()).sqrt()
    radius = stretched.clone()
    for _ in range(20):  # Newton's method on r (1 + k1 r^2) = stretched
        radius -= (radius * (1 + k1 * radius**2) - stretched) / (1 + 3 * k1 * radius**2)
    right, up = (DEPTH * value * radius / stretched / SIDE for value in (x, -y))
    color = torch.stack([right + 0.5, up + 0.5, torch.ones_like(x)], -1)
    # The fraction of each sample's square that is inside: otherwise small motions of the border fall between samples.
    inside = [
        ((0.5 - value.abs()) / torch.gradient(value, dim=axis)[0].abs() + 0.5).clamp(0, 1)
        for value, axis in ((right, 1), (up, 0))
    ]
    color = color * (inside[0] * inside[1])[..., None]
    return color.reshape(SIZE, samples, SIZE, samples, 3).mean((1, 3))


@pytest.mark.parametrize("k1", [-0.4, 0.5])
def test_the_picture_is_that_of_the_formula(k1: float) -> None:
    image = render(panel(), front_cameras(torch.tensor([k1]))).rgba[0, ..., :3].double()
    straight, bent = panel_by_hand(0.0), panel_by_hand(k1)
    assert float((bent - straight).abs().max()) > 0.5  # otherwise there is nothing to see
    # At the border 0.04 without a lens; the chords of 32 faces along a side add the same again.
    assert float((image - bent).abs().max()) < 0.1
    assert float((image - bent).abs().mean()) < 1.5e-3


def test_the_lens_has_the_gradient_of_the_formula() -> None:
    weight = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.functional.avg_pool2d(weight.permute(2, 0, 1), 7, 1, 3).permute(1, 2, 0)
    k1 = torch.tensor([0.3], requires_grad=True)
    image = render(panel(), front_cameras(k1)).rgba[0, ..., :3]
    (gradient,) = torch.autograd.grad((image * weight).sum(), k1)
    step = 0.02
    change = (panel_by_hand(0.3 + step) - panel_by_hand(0.3 - step)) / (2 * step)
    assert float(gradient) == pytest.approx(float((change * weight).sum()), rel=0.01)


def ball_views(center: Tensor, radius: float) -> Views:
    """Return four cameras with different lenses and their masks of a ball: the pixels whose rays hit it."""
    eyes = torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 4.0], [-3.0, -1.0, 2.0], [1.0, 3.0, -3.0]])
    cameras = Cameras.perspective(eyes, height=200, width=240)
    cameras = replace(cameras, projection=RadialLens(torch.tensor([0.3, -0.2, 0.1, 0.4])))
    row, column = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(240) + 0.5, indexing="ij")
    origin, direction = cameras.rays(torch.stack([column, row], -1).reshape(1, -1, 2).expand(4, -1, -1))
    distance = torch.linalg.cross(center - origin, direction).norm(dim=-1)
    masks = (distance < radius).float().reshape(4, 200, 240)
    return Views(cameras, torch.zeros(4, 200, 240, 3), masks, tuple("abcd"))


def test_a_region_is_found_through_lenses() -> None:
    center = torch.tensor([0.3, -0.2, 0.1])
    region = region_of_views(ball_views(center, 0.4))
    assert region.center == pytest.approx(center.tolist(), abs=0.02)
    assert region.radius == pytest.approx(INSIDE * 0.4, rel=0.05)


def test_masks_tell_distances_through_lenses() -> None:
    center, radius = torch.tensor([0.3, -0.2, 0.1]), 0.4
    views, cameras = ball_views(center, radius), ball_views(center, radius).cameras
    assert views.masks is not None
    field = MaskDistanceField(MaskViews(views.masks, views.names, cameras.project, cameras.focal_px, cameras.near))
    # No view excludes a point of the ball by more than a pixel; each excludes some point of a larger one.
    on_ball = icosphere(4, radius).vertices + center
    beyond = icosphere(4, radius + 0.1).vertices + center
    pixel = float(cameras.pixel_size(center[None]).max())
    assert float(field.outside(on_ball).max()) == pytest.approx(0, abs=pixel)
    assert field.outside(beyond).amax(1).tolist() == pytest.approx([0.1] * 4, abs=2 * pixel)
