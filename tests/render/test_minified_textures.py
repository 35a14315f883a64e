"""Textures seen from far away and at grazing angles, compared with dense supersampling."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.shapes import placed, scene_of
from torch import Tensor

from diffrender.imaging.metrics import psnr_db
from diffrender.render.edge_models import Antialias
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.textures.texture import Texture


def floor(dtype: torch.dtype = torch.float32) -> Mesh:
    """Return a wide floor one unit below the origin; the texture repeats twice across it."""
    vertices = torch.tensor([[-6, -1, -12], [6, -1, -12], [6, -1, 2], [-6, -1, 2]], dtype=dtype)
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])
    return Mesh(vertices, faces, torch.tensor([[0, 0], [2, 0], [2, 2], [0, 2]], dtype=dtype), faces.clone())


def checkerboard(size: int, squares: int) -> Texture:
    index = torch.arange(size) * squares // size
    return Texture(((index[:, None] + index) % 2).float()[:, :, None].expand(size, size, 3) * 0.8 + 0.1)


def covered_psnr(image: Tensor, truth: Tensor) -> float:
    return float(psnr_db(image[0, ..., :3], truth[0, ..., :3], (truth[0, ..., 3] == 1).float()))


@pytest.fixture
def without_footprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make textures bilinear, as if every pixel were a point."""
    monkeypatch.setattr(ShadingPoints, "uv_footprint", None)


def grazing_view(squares: int) -> tuple[Scene, Cameras]:
    camera = Cameras.perspective(torch.tensor([[0.0, 0.0, 2.0]]), (0.0, -0.6, -4.0), fov_deg=50, height=72, width=96)
    return scene_of(placed(floor(), Unlit(checkerboard(256, squares)))), camera


@pytest.mark.parametrize("squares", [16, 64])
def test_a_checkerboard_at_a_grazing_angle_is_near_the_supersampled_one(squares: int) -> None:
    scene, camera = grazing_view(squares)
    truth = render_supersampled(scene, camera, 12)
    assert covered_psnr(render(scene, camera).rgba, truth) > 21


@pytest.mark.parametrize("squares", [16, 64])
@pytest.mark.usefixtures("without_footprints")
def test_without_footprints_it_is_noise(squares: int) -> None:
    """The test above is sensitive: with bilinear textures the same image is over 5 dB worse."""
    scene, camera = grazing_view(squares)
    truth = render_supersampled(scene, camera, 12)
    assert covered_psnr(render(scene, camera).rgba, truth) < 16


def test_far_away_a_texture_is_its_mean() -> None:
    scene, camera = grazing_view(64)
    far = replace(camera, focal_px=camera.focal_px / 1000)
    image = render(scene, far).rgba[0]
    seen = image[image[..., 3] > 0]
    colors = (seen[:, :3] - (1 - seen[:, 3:]) * scene.background) / seen[:, 3:]
    torch.testing.assert_close(colors, torch.full((len(seen), 3), 0.5), atol=0.02, rtol=0)


def test_gradients_of_vertices_go_through_the_footprints() -> None:
    """Compare with finite differences of the image itself: the mip level of every pixel depends on the vertices."""
    dtype = torch.float64
    texels = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    mesh = floor(dtype)
    camera = Cameras.perspective(
        torch.tensor([[0.0, 0.5, 2.0]], dtype=dtype), (0.0, -1.0, -1.0), fov_deg=30, height=24, width=24
    )
    direction = torch.tensor([[0.2, 0.5, -0.3], [-0.4, 0.3, 0.2], [0.1, 0.6, 0.4], [0.3, -0.5, 0.1]], dtype=dtype)
    upstream = torch.rand(1, 24, 24, 4, generator=torch.Generator().manual_seed(1), dtype=dtype)

    def image(amount: Tensor) -> Tensor:
        moved = mesh.with_vertices(mesh.vertices + amount * direction)
        return render(scene_of(placed(moved, Unlit(Texture(texels)))), camera, Antialias()).rgba

    amount = torch.zeros((), dtype=dtype, requires_grad=True)
    assert bool((image(amount.detach())[..., 3] == 1).all())  # no silhouette in the image
    (found,) = torch.autograd.grad((image(amount) * upstream).sum(), amount)
    step = torch.tensor(1e-6, dtype=dtype)
    expected = ((image(step) - image(-step)) * upstream).sum() / (2 * step)
    assert_gradients_agree(found[None], expected[None], relative_l2_at_most=1e-3, bias_at_most=1e-3)
