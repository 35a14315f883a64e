"""Cotangent weights of edges, which make sums over a mesh nearly independent of its triangulation."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology

# Minimum sine of an angle (0.06 degrees); it bounds the cotangents of degenerate triangles.
FLATTEST = 1e-3


def cotangent_weights(vertices: Tensor, topology: Topology) -> Tensor:
    """Return half the sum of the cotangents of the angles opposite each of `topology.edges`: [E], of any sign.

    vertices: [V, 3] float. Differentiable in them; cotangents are limited to about +-1000.
    Source: U. Pinkall, K. Polthier, "Computing discrete minimal surfaces and their conjugates" (1993), section 4.
    """
    corners = vertices.index_select(0, topology.faces.reshape(-1)).reshape(-1, 3, 3)
    # The half-edge of corner c is opposite corner c + 2.
    opposite = corners.roll(-2, 1)
    start, end = corners - opposite, corners.roll(-1, 1) - opposite
    sides = torch.linalg.vector_norm(start, dim=2) * torch.linalg.vector_norm(end, dim=2)
    area = torch.linalg.vector_norm(torch.linalg.cross(start, end), dim=2)
    smallest = (FLATTEST * sides).clamp_min(torch.finfo(vertices.dtype).tiny)
    cotangent = ((start * end).sum(2) / torch.maximum(area, smallest)).reshape(-1)
    corner, offset = topology.edge_corners
    edge = torch.arange(len(topology.edges), device=corner.device).repeat_interleave(offset.diff())
    return cotangent.new_zeros(len(topology.edges)).index_add(0, edge, cotangent.index_select(0, corner) / 2)
