"""The supersampled reference that gradients are compared with must itself be correct."""

import math

import pytest
import torch
from support.shapes import BACKGROUND, bumpy, flat_camera, oblique_cameras, placed, scene_of, square, triangle
from support.truth import (
    Motion,
    MovedImages,
    dense_image,
    derivatives,
    moved_images,
    step_of,
    vertex_motions,
    world_motions,
)

from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.materials import Unlit

WHITE = Unlit(torch.ones(3))


def shown(mesh):
    return scene_of(placed(mesh, WHITE))


def test_one_sample_is_the_hard_image():
    scene, cameras = shown(bumpy(2)), oblique_cameras(2, 24)
    assert torch.equal(render_supersampled(scene, cameras, 1), render(scene, cameras, Hard()).rgba)


def test_supersampling_averages_the_samples_of_each_pixel():
    # A square from -.5 to .5 over 16 pixels, 2 units high: edges fall between pixels 4 and 12, exactly.
    image = render_supersampled(shown(square()), flat_camera(16, 16), 4)
    expected = torch.zeros(16, 16)
    expected[4:12, 4:12] = 1
    assert torch.equal(image[0, ..., 3], expected)
    background = torch.tensor(BACKGROUND)
    torch.testing.assert_close(image[0, 0, 0, :3], background)
    # Moved by half a pixel, the border pixels are half covered, and colours are mixed in linear light.
    moved = square()
    moved = moved.with_vertices(moved.vertices + torch.tensor([1 / 16, 0, 0]))
    image = render_supersampled(shown(moved), flat_camera(16, 16), 4)
    torch.testing.assert_close(image[0, 8, 3:14, 3], torch.tensor([0, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 0]))
    torch.testing.assert_close(image[0, 8, 4, :3], 0.5 + 0.5 * background)


def test_more_than_eight_samples_along_a_side_share_no_row():
    # The border of a square, anywhere in its pixel: off by at most half of the distance of 32 rows, not of 16.
    errors = []
    for part in torch.linspace(0, 1, 41).tolist():
        moved = square()
        moved = moved.with_vertices(moved.vertices + torch.tensor([part / 8, 0, 0]))
        image = render_supersampled(shown(moved), flat_camera(16, 16), 16)
        errors.append(float(image[0, 8, 4, 3]) - (1 - part))
        assert image[0, 6:10, 5:11].sub(1).abs().max() < 1e-5
    assert max(map(abs, errors)) < 1 / 64 + 1e-4 and abs(sum(errors)) < 0.05


def test_supersampling_records_no_gradients_and_renders_views_one_by_one():
    mesh, cameras = bumpy(2), oblique_cameras(2, 16)
    mesh = mesh.with_vertices(mesh.vertices.clone().requires_grad_())
    image = render_supersampled(shown(mesh), cameras, 3)
    assert not image.requires_grad
    assert torch.equal(image[1:], render_supersampled(shown(mesh), cameras.select([1]), 3))


@pytest.mark.parametrize("samples", [4, 8])
def test_coverage_converges_to_the_area(samples):
    # Legs of 1 unit are 20 pixels: the area is 200 pixels; the slanted edge errs by far less than one sample per row.
    alpha = render_supersampled(shown(triangle()), flat_camera(40, 40), samples)[..., 3]
    assert abs(float(alpha.sum()) - 200) < 20 / samples


def shown_white(mesh):
    return scene_of(placed(mesh, Unlit(torch.ones(3, dtype=mesh.vertices.dtype))))


def test_derivative_of_the_area_of_a_triangle_is_known():
    """d area / d corner, in pixels: 20 px per unit; lifting the top corner by t grows the area by 20 * 20 t / 2."""
    base = triangle(torch.float64)

    def build(leaves):
        # Rotated in the plane, so that no edge is aligned with the sample grid.
        angle = torch.tensor(0.3, dtype=torch.float64)
        turn = torch.eye(3, dtype=torch.float64)
        turn[0, 0], turn[0, 1], turn[1, 0], turn[1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
        return shown_white(base.with_vertices(leaves["vertices"] @ turn.T)), flat_camera(40, 40, dtype=torch.float64)

    up = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    right = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    images = moved_images(
        build, {"vertices": base.vertices}, [Motion("up", {"vertices": up}), Motion("right", {"vertices": right})], 24
    )
    found = derivatives(images, [lambda image: image[..., 3].sum()], noise_at_most=0.02)
    torch.testing.assert_close(found, torch.tensor([200.0, 200.0], dtype=torch.float64), rtol=0.01, atol=0)


def test_noise_of_the_truth_is_found():
    # A step of a hundredth of a sample: hardly any sample changes, and the estimate is dominated by chance.
    ball, cameras = bumpy(2), oblique_cameras(1, 16)

    def build(leaves):
        return shown(ball.with_vertices(leaves["vertices"])), cameras

    motions = [Motion(m.name, m.tangents, step=1e-5) for m in vertex_motions("vertices", ball.vertices, 0)]
    images = moved_images(build, {"vertices": ball.vertices}, motions, 2)
    with pytest.raises(AssertionError, match="the reference's relative noise"):
        derivatives(images, [lambda image: image[..., 3].sum()], noise_at_most=0.1)


def test_two_halves_are_two_estimates_of_one_image():
    scene, cameras = scene_of(placed(bumpy(3))), oblique_cameras(1, 32)
    halves = dense_image(scene, cameras, 8)
    fine = render_supersampled(scene, cameras, 31).double()
    errors = [(half - fine).square().mean().sqrt() for half in halves]
    assert not torch.equal(halves[0], halves[1])
    assert max(errors) < 0.01 and (halves.mean(0) - fine).square().mean().sqrt() < max(errors)


def test_step_moves_the_fastest_vertex_by_its_share_of_a_pixel():
    leaves = {"vertices": triangle().vertices}
    motion = Motion("right", {"vertices": torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 0, 0]])})

    def build(leaves):
        return shown(triangle().with_vertices(leaves["vertices"])), flat_camera(40, 40)

    assert step_of(build, leaves, motion) == pytest.approx(0.15 / (0.5 * 20), rel=1e-3)
    with pytest.raises(AssertionError, match="moves nothing"):
        step_of(build, leaves, Motion("away", {"vertices": torch.tensor([0.0, 0, 1]).expand(3, 3)}))


def test_world_motions_are_what_they_say():
    motions = world_motions(torch.float64)
    assert len(motions) == 7
    turned = torch.linalg.matrix_exp(motions["rotation z"] * math.pi / 2)[:3, :3]
    torch.testing.assert_close(turned @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0.0, 1, 0]).double())
    turned = torch.linalg.matrix_exp(motions["rotation x"] * math.pi / 2)[:3, :3]
    torch.testing.assert_close(turned @ torch.tensor([0.0, 1, 0]).double(), torch.tensor([0.0, 0, 1]).double())


def test_derivative_and_disagreement_by_hand():
    low = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1, 1)
    high = torch.tensor([3.0, 6.0]).reshape(2, 1, 1, 1, 1)
    moved = MovedImages(Motion("m", {}), low, high, step=0.5)
    assert float(moved.derivative(torch.sum)) == 3.0
    assert abs(float(moved.disagreement(torch.sum))) == 1.0
