import math

import pytest
import torch

from diffrender.geometry.cotangents import cotangent_weights
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.topology import Topology


def test_weights_of_a_split_square():
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.float64)
    topology = Topology(torch.tensor([[0, 1, 2], [0, 2, 3]]))
    weights = dict(zip(map(tuple, topology.edges.tolist()), cotangent_weights(corners, topology).tolist(), strict=True))
    # Opposite a side: one angle of 45 degrees, cotangent 1. Opposite the diagonal: two right angles, cotangent 0.
    assert weights == pytest.approx({(0, 1): 0.5, (1, 2): 0.5, (2, 3): 0.5, (0, 3): 0.5, (0, 2): 0.0}, abs=1e-12)


def test_the_dirichlet_energy_of_the_coordinates_is_twice_the_area():
    vertices, faces = icosphere(2)
    vertices = vertices.double() * torch.tensor([1.0, 0.4, 2.0])
    topology = Topology(faces)
    ends = vertices[topology.edges]
    energy = (cotangent_weights(vertices, topology) * (ends[:, 1] - ends[:, 0]).square().sum(1)).sum()
    corners = vertices[faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1).sum() / 2
    torch.testing.assert_close(energy, 2 * area)


def test_gradient_and_flat_triangles():
    vertices, faces = icosphere(0)
    topology = Topology(faces)
    assert torch.autograd.gradcheck(lambda v: cotangent_weights(v, topology), vertices.double().requires_grad_())
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.5, 0, 0]], requires_grad=True)
    weights = cotangent_weights(flat, Topology(torch.tensor([[0, 1, 2]])))
    weights.sum().backward()
    assert weights.abs().max() <= 500 * (1 + 1e-6)
    assert torch.isfinite(flat.grad).all()
    assert math.isfinite(float(cotangent_weights(torch.zeros(3, 3), Topology(torch.tensor([[0, 1, 2]]))).sum()))
