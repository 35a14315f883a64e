import math

import pytest
import torch
from support.surfaces import area_and_volume

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import box, bumpy_sphere, bumpy_sphere_colors, icosphere, plane, torus
from diffrender.geometry.topology import Topology

CLOSED = {
    "icosphere 0": (icosphere(0), 2),
    "icosphere 3": (icosphere(3, 2.0), 2),
    "box": (box((1.0, 2.0, 3.0)), 2),
    "torus": (torus(2.0, 0.5, 40, 20), 0),
    "bumpy": (bumpy_sphere(4), 2),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_are_closed_oriented_and_of_the_right_genus(name):
    shape, euler = CLOSED[name]
    assert shape.vertices.dtype == torch.float32 and shape.faces.dtype == torch.int64
    half_edges = torch.cat([shape.faces[:, [i, (i + 1) % 3]] for i in range(3)])
    assert len(half_edges.unique(dim=0)) == len(half_edges), "an edge is passed twice in one direction"
    assert torch.equal(half_edges.unique(dim=0), half_edges.flip(1).unique(dim=0)), "an edge has only one side"
    assert shape.faces.unique().tolist() == list(range(len(shape.vertices)))
    assert len(shape.vertices) - len(Topology(shape.faces).edges) + len(shape.faces) == euler
    assert area_and_volume(*shape)[1] > 0, "faces are clockwise seen from outside"


def test_icosphere_counts_radius_and_even_triangles():
    sphere = icosphere(3, radius=2.0)
    assert sphere.vertices.shape == (642, 3) and sphere.faces.shape == (1280, 3)
    torch.testing.assert_close(sphere.vertices.norm(dim=1), torch.full((642,), 2.0))
    a, b, c = sphere.vertices[sphere.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    assert area.max() / area.min() < 2
    assert area_and_volume(*icosphere(4))[1] == pytest.approx(4 / 3 * math.pi, rel=0.005)


def test_box_torus_and_plane_have_the_requested_size():
    assert area_and_volume(*box((1.0, 2.0, 3.0)))[1] == pytest.approx(6)
    torch.testing.assert_close(box((1.0, 2.0, 3.0)).vertices.amax(0), torch.tensor([0.5, 1.0, 1.5]))
    torch.testing.assert_close(box(2.0).vertices.amin(0), torch.tensor([-1.0, -1.0, -1.0]))
    ring = torus(2.0, 0.5, 200, 100)
    assert area_and_volume(*ring)[1] == pytest.approx(2 * math.pi**2 * 2.0 * 0.5**2, rel=0.002)
    torch.testing.assert_close(ring.vertices.amax(0), torch.tensor([2.5, 0.5, 2.5]))
    floor = plane(2.0, 3.0, 4, 5)
    assert floor.vertices.shape == (30, 3) and floor.faces.shape == (40, 3)
    torch.testing.assert_close(floor.vertices.amax(0), torch.tensor([1.0, 0.0, 1.5]))
    a, b, c = floor.vertices[floor.faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    torch.testing.assert_close(normals, torch.tensor([0.0, 2 * 3 / 20, 0.0]).expand_as(normals))


def test_bumpy_sphere_is_far_from_a_sphere_but_smooth():
    shape = bumpy_sphere(5, radius=1.5)
    distance = shape.vertices.norm(dim=1)
    assert distance.max() == pytest.approx(1.5, rel=1e-5)
    assert distance.min() < 0.6 * distance.max()
    edges = shape.vertices[Topology(shape.faces).edges]
    assert (edges[:, 0] - edges[:, 1]).norm(dim=1).max() < 0.15
    # Seen from the centre every triangle faces outwards: star-shaped, no folds.
    a, b, c = shape.vertices[shape.faces].unbind(1)
    assert ((a * torch.linalg.cross(b - a, c - a)).sum(1) > 0).all()


def test_bumpy_sphere_colors_are_smooth_distinct_and_in_range():
    shape = bumpy_sphere(5)
    colors = bumpy_sphere_colors(shape.vertices)
    assert colors.shape == shape.vertices.shape and colors.min() >= 0 and colors.max() <= 1
    torch.testing.assert_close(bumpy_sphere_colors(3 * shape.vertices), colors)
    edges = colors[Topology(shape.faces).edges]
    assert (edges[:, 0] - edges[:, 1]).abs().max() < 0.12
    hues = {tuple((color / color.max() > 0.5).tolist()) for color in colors[::50]}
    assert len(hues) >= 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: icosphere(-1), "icosphere: subdivisions must be at least 0, got -1"),
        (lambda: icosphere(9), "at most 8"),
        (lambda: icosphere(2, 0.0), "radius must be positive, got 0.0"),
        (lambda: bumpy_sphere(2, math.nan), "radius must be positive"),
        (lambda: box((1.0, -2.0, 3.0)), "size must be positive, got -2.0"),
        (lambda: box((1.0, 2.0)), "one number or three"),
        (lambda: torus(0.3, 0.4), "larger than minor_radius"),
        (lambda: torus(1.0, 0.4, 2, 10), "n_major must be at least 3"),
        (lambda: plane(1.0, 1.0, 0), "n_width must be at least 1"),
    ],
)
def test_invalid_sizes_are_refused(make, message):
    with pytest.raises(ShapeError, match=message):
        make()
