"""Roughness of a mesh: how far its faces tilt to and fro, as the skin of an orange does."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.topology import Topology


def roughness_deg(surface: Triangles) -> float:
    """Return the median over vertices of how much the angles at their edges cancel, in degrees; 0 without inner edges.

    The angle at an edge is that between the normals of its two faces, positive if they are convex, negative if concave.
    Its mean size minus the size of its mean is 0 where all edges of a vertex bend the same way, as on smooth shapes, on
    flat ones and at the corners of a box; it is large where ridges and grooves alternate from edge to edge. The median
    leaves sharp edges out: they are at few of the vertices.
    """
    vertices, faces = surface
    topology = Topology(faces)
    pairs = topology.edge_pairs
    if not len(pairs):
        return 0.0
    edges = topology.edges[~topology.is_border]
    bend = _signed_angles(vertices, faces, pairs)
    count, total, size = (
        torch.zeros(len(vertices), dtype=bend.dtype).index_add(0, edges.reshape(-1), each.repeat_interleave(2))
        for each in (torch.ones_like(bend), bend, bend.abs())
    )
    inner = count > 0
    return float(((size - total.abs())[inner] / count[inner]).median())


def _signed_angles(vertices: Tensor, faces: Tensor, pairs: Tensor) -> Tensor:
    """Return the angle [I] in degrees between the normals of each pair of faces, negative at concave edges."""
    normals, middles = face_normals(vertices, faces), vertices[faces].mean(1)
    one, other = normals[pairs[:, 0]], normals[pairs[:, 1]]
    angle = torch.rad2deg(torch.atan2(torch.linalg.cross(one, other, dim=-1).norm(dim=-1), (one * other).sum(-1)))
    is_concave = ((middles[pairs[:, 1]] - middles[pairs[:, 0]]) * one).sum(-1) > 0
    return torch.where(is_concave, -angle, angle)
