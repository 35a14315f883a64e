"""The soft edge model compared with its definition: the scene convolved with a wide kernel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from support.cases import target_motion
from support.comparators import assert_gradients_agree
from support.pictures import assert_images_agree
from support.shapes import BACKGROUND, bumpy, flat_camera, oblique_cameras, placed, scene_of, smooth_colors, square
from support.truth import (
    Leaves,
    MovedImages,
    assert_derivatives_agree,
    dense_image,
    derivatives,
    gradients_of,
    moved_images,
    moved_leaves,
    predictions,
    smooth_functional,
    squared_error,
    step_of,
    vertex_motions,
    with_gradients,
)
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.render.edge_models import Antialias, Soft
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh

SIGMAS = (0.5, 2.0, 6.0)
SIZE = 64
# The reference is blurred on an image finer by this factor, not on pixels.
FINER = 4
WHITE = Unlit(torch.ones(3))


def through_kernel(fine: Tensor, sigma: float) -> Tensor:
    """Filter [N, FINER H, FINER W, C] to [N, H, W, C]: a Gaussian of sqrt(sigma^2 - 1/4) px, then a box of a pixel."""
    blurred = fine.numpy()
    if sigma > 0.5:
        for axis in (1, 2):
            blurred = gaussian_filter1d(blurred, FINER * math.sqrt(sigma**2 - 0.25), axis, mode="nearest", truncate=4)
    views, height, width, channels = fine.shape
    blocks = torch.from_numpy(blurred).reshape(views, height // FINER, FINER, width // FINER, FINER, channels)
    return blocks.mean((2, 4))


# --- the stated kernel: value and gradient ----------------------------------------------------------------------------

CLOSED = bumpy(3)


@dataclass(frozen=True)
class FineTruth:
    """The scene and a moved target as fine images, and the fine images on both sides of each motion."""

    scene: Tensor
    target: Tensor
    moved: list[MovedImages]


def build(leaves: Leaves):
    scene = scene_of(placed(CLOSED.with_vertices(leaves["vertices"]), Unlit(smooth_colors(CLOSED.vertices))))
    return scene, oblique_cameras(1, SIZE)


def build_fine(leaves: Leaves):
    scene, cameras = build(leaves)
    return scene, cameras.resized(FINER * SIZE, FINER * SIZE)


@pytest.fixture(scope="module")
def truth() -> FineTruth:
    torch.set_num_threads(1)
    leaves = {"vertices": CLOSED.vertices}
    motions = [
        dataclasses.replace(motion, step=step_of(build, leaves, motion))
        for motion in vertex_motions("vertices", CLOSED.vertices, 6)
    ]
    goal = target_motion("vertices", CLOSED.vertices)
    samples = 3
    return FineTruth(
        dense_image(*build_fine(leaves), samples).mean(0),
        dense_image(*build_fine(moved_leaves(leaves, goal, 1.0)), samples).mean(0),
        moved_images(build_fine, leaves, motions, samples),
    )


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_image_is_the_scene_through_the_stated_kernel(truth, sigma):
    image = render(*build({"vertices": CLOSED.vertices}), Soft(sigma)).rgba
    assert_images_agree(
        image, through_kernel(truth.scene, sigma), rms_at_most={0.5: 0.0085, 2.0: 0.0015, 6.0: 0.0006}[sigma]
    )


@pytest.mark.parametrize("sigma", [2.0, pytest.param(6.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["linear", pytest.param("squared", marks=pytest.mark.slow)])
def test_gradient_along_motions(truth, sigma, kind):
    learnt = with_gradients({"vertices": CLOSED.vertices})
    image = render(*build(learnt), Soft(sigma)).rgba
    if kind == "linear":
        losses = [smooth_functional(image.shape, seed) for seed in range(3)]
    else:
        losses = [squared_error(through_kernel(truth.target, sigma))]
    # The kernel is linear: the fine images of a motion are blurred once for all losses.
    moved = [
        dataclasses.replace(
            item,
            low=torch.stack([through_kernel(half, sigma) for half in item.low]),
            high=torch.stack([through_kernel(half, sigma) for half in item.high]),
        )
        for item in truth.moved
    ]
    assert len(moved) == 13
    assert_derivatives_agree(
        f"sigma {sigma}, {kind} loss",
        predictions([gradients_of(loss, image, learnt) for loss in losses], [item.motion for item in moved]),
        derivatives(moved, losses, noise_at_most=0.02),
        cosine_at_least=0.998,
        relative_l2_at_most=0.03,
    )


@pytest.mark.parametrize("mesh", [bumpy(3), bumpy(2)], ids=["1280 faces", "320 faces"])
def test_half_a_pixel_is_the_antialiased_image_to_the_bit(mesh):
    found = []
    for edges in (Soft(0.5), Antialias()):
        leaf = mesh.vertices.clone().requires_grad_()
        rgba = render(scene_of(placed(mesh.with_vertices(leaf))), oblique_cameras(2, 48), edges).rgba
        found.append((rgba, torch.autograd.grad(rgba.square().sum(), leaf)[0]))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_it_converges_to_the_antialiased_image():
    scene, cameras = scene_of(placed(bumpy(3))), oblique_cameras(1, 48)
    sharp = render(scene, cameras).rgba
    errors = [
        float((render(scene, cameras, Soft(sigma)).rgba - sharp).square().mean().sqrt()) for sigma in (2, 1, 0.6, 0.51)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-4


# --- no seams, no bias ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", SIGMAS)
def test_no_seams_inside_a_closed_surface(sigma):
    """Where the whole kernel is within the surface, coverage is one and the colour is that of the surface."""
    color = torch.tensor([0.8, 0.4, 0.6])
    size = 128
    scene = scene_of(placed(bumpy(4), Unlit(color)))
    cameras = oblique_cameras(2, size, distance=2.0)
    rgba = render(scene, cameras, Soft(sigma)).rgba
    open_part = (1 - render_supersampled(scene, cameras, 3)[..., 3:]).permute(0, 3, 1, 2).gt(0).double()
    reach = math.ceil(4 * math.sqrt(sigma**2 - 0.25)) + 1
    interior = torch.nn.functional.max_pool2d(open_part, 2 * reach + 1, 1, reach)[:, 0] == 0
    assert int(interior.sum()) > 100
    expected = torch.cat([color, torch.ones(1)]).expand(int(interior.sum()), 4)
    torch.testing.assert_close(rgba[interior], expected, rtol=0, atol=2e-6)
    # So close that the surface fills the image: everywhere.
    inside = render(scene, oblique_cameras(2, size, distance=0.95), Soft(sigma)).rgba
    torch.testing.assert_close(inside, expected[0].expand_as(inside), rtol=0, atol=2e-6)


def half_plane(normal_deg: float, beyond_px: float, size: int) -> Mesh:
    """Return a square far larger than the image, with one side at the distance `beyond_px` from the image's middle."""
    angle = math.radians(normal_deg)
    outward = torch.tensor([math.cos(angle), math.sin(angle), 0.0])
    along = torch.tensor([-math.sin(angle), math.cos(angle), 0.0])
    edge = outward * (beyond_px * 2 / size)
    corners = [edge - 9 * along - 9 * outward, edge - 9 * along, edge + 9 * along, edge + 9 * along - 9 * outward]
    return square().with_vertices(torch.stack(corners))


def beyond_edge(normal_deg: float, beyond_px: float, size: int) -> Tensor:
    """Return the [H, W] distance of each pixel's centre from that side, negative inside the square."""
    angle = math.radians(normal_deg)
    center = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    return center[None, :] * math.cos(angle) - center[:, None] * math.sin(angle) - beyond_px


def normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.special.erf(x / math.sqrt(2)))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 4.0, 6.0])
@pytest.mark.parametrize("beyond_px", [0.0, 0.25, 0.4375, -0.3125, 0.5])
@pytest.mark.parametrize("vertical", [False, True])
def test_a_straight_edge_stays_half_covered_where_it_is(sigma, beyond_px, vertical):
    """Edges at multiples of 1/16 px, which the samples resolve exactly."""
    size, normal_deg = 64, 0.0 if vertical else 90.0
    scene = scene_of(placed(half_plane(normal_deg, beyond_px, size), WHITE))
    alpha = render(scene, flat_camera(size, size), Soft(sigma)).rgba[0, ..., 3].double()
    if not vertical:
        alpha = alpha.T.flip(1)
    assert float((alpha - alpha[:1]).abs().max()) < 1e-6
    profile = alpha[0]
    # No area is gained or lost, ...
    assert float(profile.sum()) == pytest.approx(size / 2 + beyond_px, abs=1e-4)
    # ... the coverage interpolated at the edge is a half (between the pixels of a sharp ramp only roughly) ...
    at = size / 2 + beyond_px - 0.5
    low = math.floor(at)
    half = float(profile[low] + (at - low) * (profile[low + 1] - profile[low]))
    assert half == pytest.approx(0.5, abs={0.5: 0.065, 1.0: 0.015, 2.0: 0.002, 4.0: 3e-4, 6.0: 1e-4}[sigma])
    # ... and the profile is that of the box and the Gaussian, up to the resolution of whole pixels.
    if sigma > 0.5:
        spread = math.sqrt(sigma**2 - 0.25)
        offset = torch.linspace(-0.5, 0.5, 1001, dtype=torch.float64)
        distance = beyond_edge(0.0, beyond_px, size)[0]
        expected = normal_cdf(-(distance[:, None] + offset) / spread).mean(1)
        at_most = {1.0: 0.025, 2.0: 0.006, 4.0: 0.0015, 6.0: 0.0007}[sigma]
        torch.testing.assert_close(profile, expected, rtol=0, atol=at_most)


@pytest.mark.parametrize("sigma", [2.0, 4.0])
@pytest.mark.parametrize("normal_deg", [17.0, 45.0, 118.0, 251.0])
@pytest.mark.parametrize("beyond_px", [0.0, 0.37])
def test_an_oblique_edge_stays_where_it_is(sigma, normal_deg, beyond_px):
    size = 64
    scene = scene_of(placed(half_plane(normal_deg, beyond_px, size), WHITE))
    alpha = render(scene, flat_camera(size, size), Soft(sigma)).rgba[0, ..., 3].double()
    reach = math.ceil(4 * sigma)
    middle = slice(reach, size - reach)
    distance = beyond_edge(normal_deg, beyond_px, size)[middle, middle]
    # The box has a variance of 1/12 square pixels in every direction.
    expected = normal_cdf(-distance / math.sqrt(sigma**2 - 1 / 4 + 1 / 12))
    error = alpha[middle, middle] - expected
    # Samples of a pixel share diagonals: an edge at 45 degrees crosses several at once.
    most, most_bias = (0.02, 0.02) if normal_deg == 45 else (0.01, 1e-3)
    assert float(error.abs().max()) < most
    assert abs(float(error[distance.abs() < sigma].mean())) < most_bias


# --- reach ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [2.0, 4.0])
@pytest.mark.parametrize("side", ["inside", "outside"])
@pytest.mark.parametrize("channels", [slice(0, 3), slice(3, 4)], ids=["colour", "coverage"])
def test_the_target_pulls_from_three_sigma_away_on_both_sides(sigma, side, channels):
    """Only pixels three sigma from the edge differ from the target: the edge moves towards them."""
    size, beyond_px = 64, 0.3
    mesh = half_plane(0.0, beyond_px, size)
    vertices = mesh.vertices.clone().requires_grad_()
    scene, cameras = scene_of(placed(mesh.with_vertices(vertices), WHITE)), flat_camera(size, size)
    outwards = 3 * sigma if side == "outside" else -3 * sigma
    column = round(size / 2 + beyond_px + outwards - 0.5)
    wanted = torch.tensor([1.0, 1, 1, 1] if side == "outside" else [*BACKGROUND, 0])

    def pull(edges: Antialias | Soft) -> float:
        """Return the derivative of the squared error with respect to the edge's position, per pixel."""
        rgba = render(scene, cameras, edges).rgba
        target = rgba.detach().clone()
        target[:, :, column] = wanted
        loss = (rgba - target)[..., channels].square().sum()
        (gradient,) = torch.autograd.grad(loss, vertices)
        return float(gradient[:, 0].sum()) * 2 / size

    assert pull(Antialias()) == 0
    # The edge changes the coverage of its own pixel, and that of the column by what the Gaussian spreads to it.
    spread = math.sqrt(sigma**2 - 0.25)
    pixels = column - math.floor(size / 2 + beyond_px)
    kernel = math.exp(-0.5 * (pixels / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    covered = float(render(scene, cameras, Soft(sigma)).rgba.detach()[0, 0, column, 3])
    step = torch.tensor([*(1 - torch.tensor(BACKGROUND)), 1.0])[channels].double()
    residual = covered - (1 if side == "outside" else 0)
    expected = 2 * residual * kernel * size * float(step.square().sum())
    found = pull(Soft(sigma))
    assert math.copysign(1, found) == (-1 if side == "outside" else 1)
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("sigma", [2.0, 5.0])
@pytest.mark.parametrize("away_px", [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0)])
def test_a_spot_of_colour_is_pulled_to_its_place_three_sigma_away(sigma, away_px):
    """RGB only, no pixels in common: a small bright square is attracted by one that it does not overlap."""
    size = 64
    pixel = 2 / size
    away = 3 * sigma * pixel * torch.tensor([*away_px, 0.0])
    mesh = square(side=3 * pixel)
    with torch.no_grad():
        target = render(scene_of(placed(mesh.with_vertices(mesh.vertices + away), WHITE)), flat_camera(size, size)).rgba
    pulls: dict[float, Tensor] = {}
    for width in (0.5, sigma):
        vertices = mesh.vertices.clone().requires_grad_()
        rgba = render(scene_of(placed(mesh.with_vertices(vertices), WHITE)), flat_camera(size, size), Soft(width)).rgba
        (gradient,) = torch.autograd.grad((rgba - target)[..., :3].square().sum(), vertices)
        pulls[width] = -gradient.sum(0)
    assert float(pulls[0.5].norm()) < 1e-5
    direction = torch.nn.functional.normalize(away, dim=0)
    assert float(pulls[sigma] @ direction) > 0.99 * float(pulls[sigma].norm()) > 1e-4


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edges", [Soft(3.0), Soft(0.5), Antialias()], ids=["soft", "half a pixel", "antialias"])
def test_views_together_are_the_views_one_by_one(edges):
    mesh, cameras = bumpy(3), oblique_cameras(3, 48)
    scene = scene_of(placed(mesh))
    target = torch.linspace(0, 1, 48 * 48 * 4).reshape(48, 48, 4).mul(40).sin()

    def images_and_pose_gradient(batch):
        pose = batch.cam_from_world.clone().requires_grad_()
        rgba = render(scene, dataclasses.replace(batch, cam_from_world=pose), edges).rgba
        return rgba.detach(), torch.autograd.grad((rgba - target).square().sum(), pose)[0]

    together, gradient = images_and_pose_gradient(cameras)
    for view in range(3):
        alone, own_gradient = images_and_pose_gradient(cameras.select([view]))
        assert torch.equal(together[view], alone[0])
        assert_gradients_agree(gradient[view], own_gradient[0], relative_l2_at_most=1e-5, bias_at_most=1e-5)


# --- options ----------------------------------------------------------------------------------------------------------


def test_mistakes_are_named():
    make: Callable[..., Soft] = Soft
    for sigma in (0.49, 0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ShapeError, match=r"sigma must be at least 0\.5 px"):
            make(sigma)
    with pytest.raises(ShapeError, match="samples must be at least 1, got 0"):
        make(2.0, samples=0)
