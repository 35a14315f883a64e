"""Smoothing groups: which corners of a mesh share one normal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.checks import check_number
from diffrender.errors import ShapeError
from diffrender.geometry.normals import face_normals
from diffrender.geometry.topology import Topology


def crease_groups(vertices: Tensor, faces: Tensor, crease_deg: float) -> Tensor:
    """Return the group [F, 3] int64 of each corner, so that normals are smooth across edges up to an angle.

    Corners at one position share a normal if a chain of neighbouring faces leads from one to the other whose normals
    differ by at most `crease_deg` degrees each, 0 to 180. With 0, every face has a normal of its own: flat shading.
    Vertices that coincide count as one.

    vertices: [V, 3]; faces: [F, 3]. Raises ShapeError for an angle out of its range.
    """
    check_number("crease_groups", "crease_deg", crease_deg)
    if not 0 <= crease_deg <= 180:
        raise ShapeError(f"crease_groups: crease_deg must be from 0 to 180, got {crease_deg}")
    n_faces = len(faces)
    if crease_deg == 0 or n_faces == 0:
        return torch.arange(n_faces, device=faces.device)[:, None].expand(n_faces, 3).contiguous()
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    topology = Topology(faces).weld(vertices)
    corner, offset = topology.edge_corners
    first = offset[:-1][offset.diff() == 2]
    pairs = torch.stack([corner[first], corner[first + 1]], 1)
    # Only faces of one orientation: they run along their edge in opposite directions.
    start = topology.welded_faces.reshape(-1)[pairs]
    pairs = pairs[start[:, 0] != start[:, 1]]
    normals = torch.nn.functional.normalize(face_normals(vertices.detach().double(), faces), dim=1)
    cosine = (normals[pairs[:, 0] // 3] * normals[pairs[:, 1] // 3]).sum(1)
    pairs = pairs[cosine >= math.cos(math.radians(crease_deg)) - 1e-9]
    following = pairs - pairs % 3 + (pairs + 1) % 3
    # The end of one half-edge is the start of the other.
    links = torch.cat([torch.stack([pairs[:, 0], following[:, 1]], 1), torch.stack([following[:, 0], pairs[:, 1]], 1)])
    row, column = links.cpu().numpy().T
    graph = coo_matrix((row >= 0, (row, column)), shape=(3 * n_faces, 3 * n_faces))
    label = connected_components(graph, directed=False)[1]
    return torch.from_numpy(label).long().to(faces.device).reshape(n_faces, 3)
