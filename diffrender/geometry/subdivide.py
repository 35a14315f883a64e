"""Subdivision of every face into four, on the same surface (midpoint) or a smoother one (Loop)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_float, check_indices_below, check_shape
from diffrender.errors import MeshError
from diffrender.geometry.topology import Topology


class Subdivided(NamedTuple):
    """A subdivided mesh: the old vertices in their order, followed by one per edge of `Topology.edges`.

    vertices: [V + E, 3]. faces: [4F, 3] int64; faces 4 f to 4 f + 3 are parts of face f, the last is the middle one.
    attributes: [V + E, C]. corner_attributes: [4F, 3, D] or None.
    """

    vertices: Tensor
    faces: Tensor
    attributes: Tensor
    corner_attributes: Tensor | None


def subdivide_midpoint(
    vertices: Tensor, faces: Tensor, attributes: Tensor | None = None, corner_attributes: Tensor | None = None
) -> Subdivided:
    """Subdivide a mesh with a new vertex in the middle of every edge; the surface stays the same.

    vertices: [V, 3] float; faces: [F, 3] int64, manifold or not.
    attributes: [V, C] float, vertex attributes; a new vertex gets the mean of the ends of its edge.
    corner_attributes: [F, 3, D] float, such as texture coordinates; the middle of a side gets the mean of the two
        corners of the same face, so seams stay seams.
    Differentiable in all floats.
    Raises ShapeError for other shapes and indices out of range.
    """
    attributes = _check("subdivide_midpoint", vertices, faces, attributes, corner_attributes)
    topology = Topology(faces)
    middles = _middles(vertices, topology.edges)
    return _join(topology, torch.cat([vertices, middles]), attributes, corner_attributes)


def subdivide_loop(
    vertices: Tensor, faces: Tensor, attributes: Tensor | None = None, corner_attributes: Tensor | None = None
) -> Subdivided:
    """Apply one step of Loop subdivision to the positions; everything else is as in `subdivide_midpoint`.

            1                 B                   new vertex of an edge: 3/8 of its ends, 1/8 of the opposite corners;
           / \\            /   \\                 a vertex with n neighbours: 1 - n B of itself and B of each,
          3 - 3         B - 1-nB - B              B = (5/8 - (3/8 + cos(2 pi / n) / 4)^2) / n.
           \\ /            \\   /                 Boundary: 1/2, 1/2 and 1/8, 3/4, 1/8: a cubic spline.
            1                 B

    Vertices where boundaries meet (with boundary edges, but not two) and vertices without faces stay in place.
    Arguments and gradients as in `subdivide_midpoint`. Raises MeshError if an edge has more than two faces.
    Source: C. Loop, "Smooth subdivision surfaces based on triangles" (1987); the boundary as in H. Hoppe et al.,
    "Piecewise smooth surface reconstruction" (1994).
    """
    attributes = _check("subdivide_loop", vertices, faces, attributes, corner_attributes)
    topology = Topology(faces)
    edges, (corner, offset) = topology.edges, topology.edge_corners
    n_faces_at = offset.diff()
    _check_two_faces(faces, edges, n_faces_at)
    is_boundary = n_faces_at == 1
    opposite = faces.roll(1, 1).reshape(-1)[corner]
    edge_of = torch.arange(len(edges), device=faces.device).repeat_interleave(n_faces_at)
    opposite_sum = vertices.new_zeros(len(edges), 3).index_add(0, edge_of, vertices.index_select(0, opposite))
    middles = _middles(vertices, edges)
    new = torch.where(is_boundary[:, None], middles, 0.75 * middles + 0.125 * opposite_sum)
    return _join(topology, torch.cat([_smooth(vertices, edges, is_boundary), new]), attributes, corner_attributes)


def _smooth(vertices: Tensor, edges: Tensor, is_boundary: Tensor) -> Tensor:
    """Return the new positions of the old vertices by Loop's rules."""
    n_vertices = len(vertices)
    n_rims = torch.bincount(edges[is_boundary].reshape(-1), minlength=n_vertices)
    # At boundary vertices only the neighbours along the boundary count.
    counts = is_boundary | (n_rims[edges] == 0).all(1)
    start, end = torch.cat([edges, edges.flip(1)]).unbind(1)
    counts_for = torch.cat([counts, counts]) | (n_rims[start] == 0)
    start, end = start[counts_for], end[counts_for]
    total = torch.zeros_like(vertices).index_add(0, start, vertices.index_select(0, end))
    n_neighbours = torch.bincount(start, minlength=n_vertices).to(vertices.dtype)
    inside = (0.625 - (0.375 + 0.25 * torch.cos(2 * math.pi / n_neighbours.clamp_min(1))).square()) / n_neighbours
    weight = torch.where(n_rims == 0, inside, 0.125)[:, None]
    moves = ((n_rims == 2) | ((n_rims == 0) & (n_neighbours > 0)))[:, None]
    weight = weight.where(moves, 0)
    return (1 - n_neighbours[:, None] * weight) * vertices + weight * total


def _middles(values: Tensor, edges: Tensor) -> Tensor:
    return 0.5 * (values.index_select(0, edges[:, 0]) + values.index_select(0, edges[:, 1]))


def _join(topology: Topology, vertices: Tensor, attributes: Tensor, corner_attributes: Tensor | None) -> Subdivided:
    """Build the mesh on vertices [V + E, 3], old ones first.

         a
        / \\        faces: a ab ca,  ab b bc,  ca bc c,  ab bc ca
      ab - ca
      / \\ / \\
     b - bc - c
    """
    faces, edges, (corner, offset) = topology.faces, topology.edges, topology.edge_corners
    n_old = len(vertices) - len(edges)
    middle = torch.empty_like(corner)
    middle[corner] = n_old + torch.arange(len(edges), device=faces.device).repeat_interleave(offset.diff())
    parts = _split_in_four(faces, middle.reshape(-1, 3))
    corners = None
    if corner_attributes is not None:
        corners = _split_in_four(corner_attributes, 0.5 * (corner_attributes + corner_attributes.roll(-1, 1)))
    return Subdivided(vertices, parts, torch.cat([attributes, _middles(attributes, edges)]), corners)


def _split_in_four(corners: Tensor, sides: Tensor) -> Tensor:
    """Return the values [4F, 3, ...] of the parts from those at corners and side middles, [F, 3, ...] each."""
    a, b, c = corners.unbind(1)
    ab, bc, ca = sides.unbind(1)
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return torch.stack([torch.stack(part, 1) for part in parts], 1).flatten(0, 1)


def _check(
    function: str, vertices: Tensor, faces: Tensor, attributes: Tensor | None, corner_attributes: Tensor | None
) -> Tensor:
    """Check all arguments and return the attributes [V, C], empty if there are none."""
    check_shape(function, "vertices", vertices, ("V", 3))
    check_float(function, "vertices", vertices)
    check_shape(function, "faces", faces, ("F", 3))
    check_indices_below(function, "faces", faces, len(vertices), "the number of vertices")
    if corner_attributes is not None:
        check_shape(function, "corner_attributes", corner_attributes, (len(faces), 3, "D"))
    if attributes is None:
        return vertices.new_zeros(len(vertices), 0)
    check_shape(function, "attributes", attributes, (len(vertices), "C"))
    return attributes


def _check_two_faces(faces: Tensor, edges: Tensor, n_faces_at: Tensor) -> None:
    crowded = (n_faces_at > 2).nonzero()[:, 0]
    if len(crowded):
        first = crowded[0]
        raise MeshError(
            f"subdivide_loop: edges must have at most two faces, got {int(n_faces_at[first])} of {len(faces)} faces at"
            f" the edge of vertices {edges[first].tolist()} ({len(crowded)} such edges in total); remove the interior"
            " or duplicate faces, or use subdivide_midpoint"
        )
