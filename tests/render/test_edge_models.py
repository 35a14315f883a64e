import dataclasses

import pytest
import torch
from support.shapes import bumpy, flat_camera, oblique_cameras, placed, scene_of, square, wavy_sheet

from diffrender.errors import ShapeError
from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models import EDGE_MODELS, Antialias, Hard
from diffrender.render.edge_models.antialias import sample_positions
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.materials import Unlit

WHITE = Unlit(torch.ones(3))


def at(x_px, y_px=0.0):
    """Return a square of 8 x 8 pixels, moved by a number of pixels from the grid of `flat_camera(16, 16)`."""
    mesh = square()
    move = torch.tensor([x_px, -y_px, 0.0]) * 2 / 16
    return mesh.with_vertices((mesh.vertices + move).requires_grad_())


@pytest.mark.parametrize("name", EDGE_MODELS)
def test_the_shelf_holds_frozen_options_with_defaults(name):
    edges = EDGE_MODELS[name]()
    assert isinstance(edges, EdgeModel) and dataclasses.is_dataclass(edges)
    assert edges == EDGE_MODELS[name]() and hash(edges) == hash(EDGE_MODELS[name]())
    for option in dataclasses.fields(edges):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(edges, option.name, 1)


@pytest.mark.parametrize("edges", ["soft", Hard])
def test_what_is_no_edge_model_is_refused(edges):
    with pytest.raises(ShapeError, match=r"^render: edges must be an EdgeModel, such as Antialias\(\)"):
        render(scene_of(placed(square())), flat_camera(8, 8), edges)


@pytest.mark.parametrize("edges", [Antialias(), Antialias(3), Hard()], ids=["antialias", "3 samples", "hard"])
@pytest.mark.parametrize("mesh", [bumpy(3), wavy_sheet(16)], ids=["closed", "open"])
def test_weights_of_a_pixel_sum_to_its_coverage(edges, mesh):
    output = render(scene_of(placed(mesh)), oblique_cameras(2, 32), edges)
    samples = output.visible.samples
    total = torch.zeros(2 * 32 * 32).index_add(0, samples.pixel, samples.weight).reshape(2, 32, 32)
    torch.testing.assert_close(total, output.rgba[..., 3])
    assert total.max() <= 1 + 1e-6 and samples.weight.min() > 0
    # Samples of a pixel are contiguous and inside it.
    order, _ = torch.unique_consecutive(samples.pixel, return_counts=True)
    assert len(order) == len(order.unique())
    column, row = samples.pixel % 32, samples.pixel // 32 % 32
    assert torch.equal(samples.xy_px.floor().long(), torch.stack([column, row], 1))


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 7])
def test_samples_of_a_pixel_share_no_row_and_no_column(samples):
    places = torch.tensor(sample_positions(samples), dtype=torch.float64)
    assert len(places) == samples**2 and places.min() > 0 and places.max() < 1
    torch.testing.assert_close(places.mean(0), torch.full((2,), 0.5).double())
    for axis in range(2):
        expected = (torch.arange(samples**2, dtype=torch.float64) + 0.5) / samples**2
        torch.testing.assert_close(places[:, axis].sort().values, expected)


@pytest.mark.parametrize("samples, error", [(1, 0.3), (2, 0.1), (3, 0.052), (4, 0.034), (8, 0.012)])
def test_samples_tell_how_much_of_a_pixel_a_line_cuts_off(samples, error):
    """RMS error of coverage over lines of all directions; a regular grid of 4 x 4 points has 0.06."""
    places = torch.tensor(sample_positions(samples), dtype=torch.float64)
    side = (torch.arange(48, dtype=torch.float64) + 0.5) / 48
    dense = torch.cartesian_prod(side, side)
    angle = torch.rand(2000, dtype=torch.float64) * 2 * torch.pi
    normal, offset = torch.stack([angle.cos(), angle.sin()]), (torch.rand(2000, dtype=torch.float64) - 0.5) * 1.4

    def cut_off(points):
        return ((points - 0.5) @ normal < offset).double().mean(0)

    assert (cut_off(places) - cut_off(dense)).square().mean().sqrt() < error


def test_hard_has_no_gradient_in_the_shape_but_one_in_the_colour():
    mesh, color = at(0.3), torch.ones(3, requires_grad=True)
    output = render(scene_of(placed(mesh, Unlit(color))), flat_camera(16, 16), Hard())
    assert set(output.rgba[..., 3].detach().unique().tolist()) == {0.0, 1.0}
    shape, shade = torch.autograd.grad(output.rgba.sum(), [mesh.vertices, color], allow_unused=True)
    assert shape is None or not shape.any()
    assert shade.tolist() == [64.0, 64.0, 64.0]


@pytest.mark.parametrize("x_px, y_px", [(0.0, 0.0), (0.25, 0.0), (0.5, 0.5), (-0.125, 0.3125)])
def test_antialias_covers_exactly_what_a_square_covers(x_px, y_px):
    """Samples are in rows and columns of 1/16 px, so sides at multiples of 1/16 px are drawn exactly."""
    alpha = render(scene_of(placed(at(x_px, y_px), WHITE)), flat_camera(16, 16), Antialias()).rgba[0, ..., 3]
    centers = torch.arange(16)
    across = ((centers + 1).clamp(max=12 + x_px) - centers.clamp(min=4 + x_px)).clamp(0, 1)
    down = ((centers + 1).clamp(max=12 + y_px) - centers.clamp(min=4 + y_px)).clamp(0, 1)
    sides = torch.zeros(16, 16, dtype=torch.bool)
    sides[5:11, :] = True
    torch.testing.assert_close(alpha[sides], (down[:, None] * across[None, :])[sides])
    torch.testing.assert_close(alpha, down[:, None] * across[None, :], atol=0.07, rtol=0)  # corners: 16 samples each


def test_antialias_gradient_by_hand():
    """Along the right side of the square, 8 px long, coverage grows by one per row and pixel of motion."""
    mesh = at(0.3)
    alpha = render(scene_of(placed(mesh, WHITE)), flat_camera(16, 16)).rgba[0, ..., 3]
    for columns, per_pixel in ((slice(8, 16), 8.0), (slice(0, 8), -8.0), (slice(0, 16), 0.0)):
        (gradient,) = torch.autograd.grad(alpha[:, columns].sum(), mesh.vertices, retain_graph=True)
        assert float(gradient[:, 0].sum()) * 2 / 16 == pytest.approx(per_pixel, abs=1e-4)
        assert float(gradient[:, 2].abs().max()) < 1e-5  # parallel projection: depth does not matter
    # Each row contains one pixel of edge, which the corners share by their distance.
    (gradient,) = torch.autograd.grad(alpha[6, 8:].sum(), mesh.vertices)
    share = (6.5 - 4) / 8
    assert float(gradient[1, 0]) * 2 / 16 == pytest.approx(share, abs=1e-4)
    assert float(gradient[2, 0]) * 2 / 16 == pytest.approx(1 - share, abs=1e-4)


@pytest.mark.parametrize("mesh", [bumpy(3), wavy_sheet(16)], ids=["closed", "open"])
def test_antialias_is_far_closer_to_the_box_filtered_image_than_hard(mesh):
    scene, cameras = scene_of(placed(mesh)), oblique_cameras(1, 64)
    truth = render_supersampled(scene, cameras, 12)

    def error(edges):
        return float((render(scene, cameras, edges).rgba - truth).square().mean().sqrt())

    assert error(Antialias()) < 0.012
    assert error(Antialias()) < 0.35 * error(Hard())


def test_edges_inside_a_surface_are_not_silhouettes():
    """The diagonal of the square appears neither in the image nor among the silhouette segments."""
    output = render(scene_of(placed(at(0.3), WHITE)), flat_camera(16, 16))
    torch.testing.assert_close(output.rgba[0, 5:11, 5:11], torch.ones(6, 6, 4))
    inside = (output.visible.segments.pixel % 16 > 4) & (output.visible.segments.pixel % 16 < 12)
    row = output.visible.segments.pixel // 16
    assert not (inside & (row > 4) & (row < 11)).any()


def test_silhouettes_have_the_length_of_the_square():
    output = render(scene_of(placed(at(0.3, 0.2), WHITE)), flat_camera(16, 16))
    assert float(output.visible.segments.normal_px.norm(dim=1).sum()) == pytest.approx(32, rel=1e-4)
    torch.testing.assert_close(output.visible.segments.normal_px.sum(0), torch.zeros(2), atol=1e-4, rtol=0)


def test_errors():
    with pytest.raises(ShapeError, match="samples must be at least 1, got 0"):
        Antialias(0)
