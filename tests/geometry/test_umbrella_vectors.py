import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.topology import Topology
from diffrender.geometry.umbrella_vectors import laplacian_vectors


def test_path_of_three_vertices_by_hand():
    vertices = torch.tensor([[0.0, 0, 0], [1, 3, 0], [4, 0, 0], [9, 9, 9]])
    edges = torch.tensor([[0, 1], [1, 2]])
    expected = torch.tensor([[1.0, 3, 0], [1, -3, 0], [-3, 3, 0], [0, 0, 0]])
    torch.testing.assert_close(laplacian_vectors(vertices, edges), expected)


def test_matches_the_dense_matrix():
    sphere = icosphere(1)
    edges = Topology(sphere.faces).edges
    values = torch.randn(len(sphere.vertices), 5, dtype=torch.float64)
    adjacency = torch.zeros(len(values), len(values), dtype=torch.float64)
    adjacency[edges[:, 0], edges[:, 1]] = 1
    adjacency = adjacency + adjacency.T
    dense = adjacency / adjacency.sum(1, keepdim=True) - torch.eye(len(values))
    torch.testing.assert_close(laplacian_vectors(values, edges), dense @ values)


def test_points_inwards_on_a_sphere_and_ignores_translation():
    sphere = icosphere(2)
    edges = Topology(sphere.faces).edges
    vectors = laplacian_vectors(sphere.vertices, edges)
    assert ((vectors * sphere.vertices).sum(1) < 0).all()
    shift = torch.tensor([5.0, -3.0, 2.0])
    torch.testing.assert_close(laplacian_vectors(sphere.vertices + shift, edges), vectors, atol=1e-5, rtol=0)


def test_gradient_matches_finite_differences():
    sphere = icosphere(0)
    edges = Topology(sphere.faces).edges
    vertices = sphere.vertices.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: laplacian_vectors(v, edges), (vertices,))


def test_value_and_gradient_are_bitwise_the_same_with_one_and_two_threads():
    sphere = icosphere(6)  # large enough for torch to use several threads
    edges = Topology(sphere.faces).edges
    threads = torch.get_num_threads()
    results = []
    try:
        for n_threads in (1, 2, 2):
            torch.set_num_threads(n_threads)
            vertices = sphere.vertices.clone().requires_grad_()
            value = laplacian_vectors(vertices, edges)
            (value**3).sum(1).mul(1e6).sum().backward()
            assert vertices.grad is not None
            results.append((value.detach(), vertices.grad))
    finally:
        torch.set_num_threads(threads)
    for value, grad in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(grad, results[0][1])


def test_bad_edges_are_named():
    with pytest.raises(ShapeError, match=r"laplacian_vectors: edges must be in 0..2 .*got 7"):
        laplacian_vectors(torch.zeros(3, 3), torch.tensor([[0, 7]]))
    with pytest.raises(ShapeError, match=r"edges must have shape \[E, 2\]"):
        laplacian_vectors(torch.zeros(3, 3), torch.tensor([0, 1]))
