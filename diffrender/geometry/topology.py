"""Mesh topology: edges and adjacency of a triangle mesh."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class EdgeCorners(NamedTuple):
    """The half-edges of each edge, as a list of lists (compressed rows).

    corner: [3F] int64; a corner is 3 f + c, and its half-edge runs from faces[f, c] to faces[f, (c + 1) % 3].
    offset: [E + 1] int64; corner[offset[e] : offset[e + 1]] are the half-edges of edge e, one per face.
    """

    corner: Tensor
    offset: Tensor


class Topology:
    """Edges and adjacency of `faces` [F, 3], computed on first use and then cached.

    Vertices are identified by index: coincident positions must be one vertex (the mesh reader welds them).
    """

    def __init__(self, faces: Tensor) -> None:
        self.faces = faces

    @cached_property
    def _sorted_half_edges(self) -> tuple[Tensor, Tensor, Tensor]:
        start = self.faces.reshape(-1)
        end = self.faces.roll(-1, 1).reshape(-1)
        n_vertices = int(self.faces.max()) + 1 if self.faces.numel() else 1
        key = torch.minimum(start, end) * n_vertices + torch.maximum(start, end)
        key, corner = key.sort(stable=True)
        key, count = torch.unique_consecutive(key, return_counts=True)
        edges = torch.stack([key // n_vertices, key % n_vertices], 1)
        return edges, corner, count

    @cached_property
    def edges(self) -> Tensor:
        """[E, 2] int64: the two vertices of each undirected edge, the lower index first."""
        return self._sorted_half_edges[0]

    @cached_property
    def edge_corners(self) -> EdgeCorners:
        """The half-edges of each edge, and so the faces that meet there."""
        _, corner, count = self._sorted_half_edges
        return EdgeCorners(corner, torch.cat([count.new_zeros(1), count.cumsum(0)]))

    @cached_property
    def edge_sides(self) -> Tensor:
        """[E, 2] int32: the two faces of each edge: f if face f runs along it forwards, -1 - f if backwards.

        An edge without exactly two faces has its first face twice.
        """
        edges, corner, count = self._sorted_half_edges
        first = count.cumsum(0) - count
        two = torch.stack([corner[first], corner[torch.where(count == 2, first + 1, first)]], 1)
        forward = self.faces.reshape(-1)[two] == edges[:, :1]
        return torch.where(forward, two // 3, -1 - two // 3).int()

    @cached_property
    def edge_pairs(self) -> Tensor:
        """[I, 2] int64: the two faces of every edge that has exactly two."""
        _, corner, count = self._sorted_half_edges
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])[:-1][count == 2]
        return torch.stack([corner[first] // 3, corner[first + 1] // 3], 1)

    @cached_property
    def face_component(self) -> Tensor:
        """[F] int64: the connected component of each face; faces that share a vertex are connected."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        if not self.faces.numel():
            return self.faces.new_zeros(0)
        edges = self.edges.cpu().numpy()
        n_vertices = int(self.faces.max()) + 1
        graph = coo_matrix((edges[:, 0] >= 0, (edges[:, 0], edges[:, 1])), shape=(n_vertices, n_vertices))
        label = torch.from_numpy(connected_components(graph, directed=False)[1]).long().to(self.faces.device)
        # Renumber from 0, because vertices without a face have labels of their own.
        return label[self.faces[:, 0]].unique(return_inverse=True)[1]

    @cached_property
    def n_components(self) -> int:
        """The number of connected components."""
        return int(self.face_component.max()) + 1 if self.faces.numel() else 0

    @cached_property
    def is_closed(self) -> bool:
        """Whether every edge has exactly two faces, in opposite directions."""
        edges, corner, count = self._sorted_half_edges
        if not self.faces.numel() or not bool((count == 2).all()):
            return False
        forward = self.faces.reshape(-1)[corner] == edges[:, 0].repeat_interleave(2)
        return bool((forward[0::2] != forward[1::2]).all())


def join_topologies(topologies: Sequence[Topology], n_vertices: Sequence[int]) -> Topology:
    """Join the topologies of several meshes whose vertices are concatenated; reuses their cached values."""
    starts = [sum(n_vertices[:i]) for i in range(len(n_vertices))]
    joined = Topology(torch.cat([part.faces + start for part, start in zip(topologies, starts, strict=True)]))
    edges, corners, counts, sides, components = [], [], [], [], []
    first_face = first_component = 0
    for part, start in zip(topologies, starts, strict=True):
        part_edges, corner, count = part._sorted_half_edges
        edges.append(part_edges + start)
        corners.append(corner + 3 * first_face)
        counts.append(count)
        # -1 - (f + n) is (-1 - f) - n.
        sides.append(part.edge_sides + first_face * torch.where(part.edge_sides < 0, -1, 1).int())
        components.append(part.face_component + first_component)
        first_face += len(part.faces)
        first_component += part.n_components
    # cached_property stores its values here.
    joined.__dict__["_sorted_half_edges"] = (torch.cat(edges), torch.cat(corners), torch.cat(counts))
    joined.__dict__["edge_sides"] = torch.cat(sides)
    joined.__dict__["face_component"] = torch.cat(components)
    joined.__dict__["n_components"] = first_component
    return joined
