import math

import pytest
import torch

from diffrender.fit.regularizers import REGULARIZERS
from diffrender.geometry.primitives import box, icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

NAMES = list(REGULARIZERS)


def scene_of(*triangles):
    meshes = [Mesh(vertices, faces) for vertices, faces in triangles]
    return Scene({str(i): Object(mesh, MATERIALS["unlit"]()) for i, mesh in enumerate(meshes)})


def bumpy(subdivisions=2, seed=0):
    vertices, faces = icosphere(subdivisions)
    noise = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vertices.double() + 0.1 * noise, faces


def flat_grid(n=6):
    """Equilateral triangles in a plane."""
    row, column = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    x = column.double() + 0.5 * row.double()
    vertices = torch.stack([x, row * math.sqrt(3) / 2, torch.zeros(n, n)], -1).reshape(-1, 3)
    corner = (row[:-1, :-1] * n + column[:-1, :-1]).reshape(-1, 1)
    faces = torch.cat([corner + torch.tensor([0, 1, n]), corner + torch.tensor([1, n + 1, n])])
    return vertices, faces


def measure(name, *triangles):
    return REGULARIZERS[name]()(scene_of(*triangles))


@pytest.mark.parametrize("name", NAMES)
def test_unchanged_by_rigid_motion_and_scale(name):
    vertices, faces = bumpy()
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64))
    value = measure(name, (vertices, faces))
    moved = measure(name, (vertices @ turn.T + torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64), faces))
    torch.testing.assert_close(moved, value)
    for factor in (1e-3, 1e3):
        torch.testing.assert_close(measure(name, (vertices * factor, faces)), value)


@pytest.mark.parametrize("name", NAMES)
def test_positive_gradient_right_and_a_step_down_lowers_it(name):
    vertices, faces = bumpy(1)
    vertices = vertices.clone().requires_grad_()
    value = measure(name, (vertices, faces))
    assert value.shape == ()
    assert value > 0
    (gradient,) = torch.autograd.grad(value, vertices)
    assert measure(name, (vertices.detach() - 1e-3 * gradient / gradient.norm(), faces)) < value


@pytest.mark.parametrize("name", ["normal_consistency", "edge_length"])
def test_gradient_is_that_of_the_value(name):
    vertices, faces = bumpy(0)
    assert torch.autograd.gradcheck(lambda v: measure(name, (v, faces)), vertices.clone().requires_grad_())


def test_laplacian_gradient_takes_the_edge_length_as_fixed():
    vertices, faces = bumpy(0)
    vertices = vertices.clone().requires_grad_()
    value = measure("laplacian", (vertices, faces))
    (gradient,) = torch.autograd.grad(value, vertices)
    # The numerator is quadratic in the vertices, so by Euler's theorem v . gradient is twice the value.
    torch.testing.assert_close((vertices * gradient).sum(), 2 * value)


@pytest.mark.parametrize("name", NAMES)
def test_objects_add_up_wherever_they_stand(name):
    one, two = bumpy(1, 1), bumpy(1, 2)
    torch.testing.assert_close(measure(name, one, two), measure(name, one) + measure(name, two))
    assert measure(name) == 0


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_meshes_stay_finite(name):
    vertices, faces = bumpy(1)
    collapsed = vertices.float().clone()
    collapsed[faces[0]] = collapsed[faces[0, 0]].clone()
    sliver = vertices.float().clone()
    sliver[faces[0, 2]] = (sliver[faces[0, 0]] + sliver[faces[0, 1]]) / 2
    for points in (collapsed, sliver, torch.zeros_like(collapsed)):
        points = points.requires_grad_()
        value = measure(name, (points, faces))
        (gradient,) = torch.autograd.grad(value, points)
        assert torch.isfinite(value)
        assert gradient.abs().max() < 1e3


@pytest.mark.parametrize("name", NAMES)
def test_a_single_triangle_and_a_loose_vertex(name):
    value = measure(name, (torch.eye(4)[:, :3], torch.tensor([[0, 1, 2]])))
    assert torch.isfinite(value)


def test_flat_regular_grid_is_free_of_bending_and_unevenness():
    assert measure("normal_consistency", flat_grid()) < 1e-12
    assert measure("edge_length", flat_grid()) < 1e-12


def test_normal_consistency_of_a_cube():
    # 12 edges of 90 degrees (1 - cos = 1) and 6 flat diagonals.
    torch.testing.assert_close(measure("normal_consistency", box((1.0, 1.0, 1.0))), torch.tensor(12 / 18))


def test_edge_length_of_a_right_triangle():
    triangle = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    # Sides 3, 4, 5: variance 2/3 over the squared mean 16.
    torch.testing.assert_close(measure("edge_length", (triangle, torch.tensor([[0, 1, 2]]))), torch.tensor(2 / 48))


def test_laplacian_of_a_regular_tetrahedron():
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    # Each corner is 4/3 of its distance sqrt(3) to the centre away from the mean of the others; edges are sqrt(8).
    torch.testing.assert_close(measure("laplacian", (corners, faces)), torch.tensor((16 / 9 * 3) / 8))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_on_any_number_of_threads(name):
    vertices, faces = bumpy(5)
    results = []
    threads = torch.get_num_threads()
    for n in (1, 2):
        torch.set_num_threads(n)
        points = vertices.float().requires_grad_()
        value = measure(name, (points, faces))
        results.append((value.detach(), torch.autograd.grad(value, points)[0]))
    torch.set_num_threads(threads)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
