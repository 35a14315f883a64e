"""Mesh topology: edges and adjacency of a triangle mesh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.derivatives import constant, on_plain_tensors, plain_property
from diffrender.list_sizes import hold, is_kept, tell_wrong

# Of the topologies that are kept for the next mesh of the same faces; the last is kept whatever its size.
MOST_RECENT = 16
MOST_RECENT_FACES = 1_000_000
# Of the numberings whose seams one topology keeps.
MOST_SEAMS = 8


class EdgeCorners(NamedTuple):
    """The half-edges of each edge, as a list of lists (compressed rows).

    corner: [3F] int64; a corner is 3 f + c, and its half-edge runs from faces[f, c] to faces[f, (c + 1) % 3]; those of
        a face with a repeated corner are loops at its first.
    offset: [E + 1] int64; corner[offset[e] : offset[e + 1]] are the half-edges on edge e, one per face.
    """

    corner: Tensor
    offset: Tensor


class Topology:
    """Edges and adjacency of `faces` [F, 3], computed on first use and then cached.

    Vertices are identified by index; `weld` returns the topology in which those that coincide are one.

    faces: [F, 3] int64.
    welded_faces: [F, 3] the same faces by the vertices that count as one, which edges and adjacency are made of;
        default: `faces`.
    """

    def __init__(self, faces: Tensor, welded_faces: Tensor | None = None) -> None:
        self.faces = faces
        self.welded_faces = faces if welded_faces is None else welded_faces
        self._welded: _Welded | None = None
        self._known: _Known | None = None
        self._joined: tuple[list[Topology], Topology] | None = None
        self._seams: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    @classmethod
    @on_plain_tensors()
    def of(cls, faces: Tensor) -> Topology:
        """Return a topology of `faces` that already knows what the last one of the same tensor has found out.

        For scripts that build a mesh of the same faces at each step. What depends on vertices is found anew.
        """
        topology = cls(faces)
        # What is computed in inference mode cannot be part of a graph later.
        if not torch.is_inference_mode_enabled() and not faces.is_inference():
            topology._known = _Known.of(faces)
            topology._take_over(topology._known.last)
            topology._known.last = topology
        return topology

    @property
    def identity(self) -> object:
        """What all topologies of the same tensor of faces, one after the other, have in common."""
        return self if self._known is None else self._known

    def _take_over(self, other: Topology | None) -> None:
        """Take over what another topology of equal faces knows that depends on the faces alone."""
        if other is not None:
            self.__dict__.update({name: other.__dict__[name] for name in _OF_FACES if name in other.__dict__})
            self._seams = {number: seam for number, seam in other._seams.items() if seam[0] is self.faces}

    @on_plain_tensors()
    def weld(self, vertices: Tensor) -> Topology:
        """Return the topology in which border vertices that coincide are one: itself if none do.

        A border vertex is on an edge that has not exactly two faces; no other can join surfaces. They are found at the
        first call, and again once some that were one have parted or others have met.

        vertices: [V, 3] positions; they coincide if they are equal.
        """
        vertices = constant(vertices)
        if self._welded is not None and self._welded.is_as_found(vertices):
            return self._welded.topology or self
        former = None if self._known is None else self._known.welded
        if former is not None and former.is_as_found(vertices):
            topology = None
            if former.topology is not None:
                topology = Topology(self.faces, former.topology.welded_faces)
                topology._take_over(former.topology)
            self._welded = former._replace(topology=topology)
        else:
            self._welded = self._find_twins(vertices)
        if self._known is not None:
            self._known.welded = self._welded
        return self._welded.topology or self

    def _find_twins(self, vertices: Tensor) -> _Welded:
        border = torch.unique(self.edges[self.is_border])
        first = border[first_equal_row(vertices[border])]
        is_twin = border != first
        topology = None
        if bool(is_twin.any()):
            identity = torch.arange(len(vertices), device=vertices.device)
            identity[border] = first
            topology = Topology(self.faces, identity[self.faces])
        return _Welded(border[is_twin], first[is_twin], border[~is_twin], topology)

    @plain_property
    def compacted(self) -> tuple[Tensor, Topology]:
        """The vertices [K] that faces have, of those that count as one the first, and the topology by their order."""
        used, faces = self.welded_faces.unique(return_inverse=True)
        return used, Topology(faces)

    def join(self, others: Sequence[Topology], n_vertices: Sequence[int]) -> Topology:
        """Return `join_topologies` of this one and `others`, kept for the next call with the same."""
        if self._joined is None or self._joined[0] != list(others):
            self._joined = list(others), join_topologies([self, *others], n_vertices)
        return self._joined[1]

    @on_plain_tensors()
    def is_outward(self, vertices: Tensor, axes: Sequence[int] = (0, 1, 2)) -> bool:
        """Return whether the surface is closed and no part of it is turned inside out, as walls of cavities are.

        vertices: [V, 3], or more columns, of which `axes` are x, y and z.
        """
        return self.is_closed and bool(self.faces_outward(vertices, axes))

    @on_plain_tensors()
    def faces_outward(self, vertices: Tensor, axes: Sequence[int] = (0, 1, 2)) -> Tensor:
        """Return `is_outward` [] bool on the device, for which the host does not wait."""
        from diffrender.geometry.signed_volumes import signed_volumes  # it loads Numba, which writers do without

        if not self.is_closed:
            return torch.zeros((), dtype=torch.bool, device=vertices.device)
        volumes = signed_volumes(vertices, self.welded_faces, axes)
        if self.n_components == 1:
            return volumes.sum() >= 0
        parts = volumes.new_zeros(self.n_components).index_add(0, self.face_component, volumes)
        return (parts >= 0).all()

    @plain_property
    def _sorted_half_edges(self) -> tuple[Tensor, Tensor, Tensor]:
        # A face with a repeated corner borders nothing: its half-edges are loops, and so on no edge of other faces.
        faces = self.welded_faces
        is_flat = (faces == faces.roll(-1, 1)).any(1, keepdim=True)
        start = faces.where(~is_flat, faces[:, :1]).reshape(-1)
        end = faces.roll(-1, 1).where(~is_flat, faces[:, :1]).reshape(-1)
        n_vertices = int(self.welded_faces.max()) + 1 if self.faces.numel() else 1
        key = torch.minimum(start, end) * n_vertices + torch.maximum(start, end)
        key, corner = key.sort(stable=True)
        key, count = torch.unique_consecutive(key, return_counts=True)
        edges = torch.stack([key // n_vertices, key % n_vertices], 1)
        return edges, corner, count

    @plain_property
    def edges(self) -> Tensor:
        """[E, 2] int64: the two vertices of each undirected edge, the lower index first."""
        return self._sorted_half_edges[0]

    @plain_property
    def edge_corners(self) -> EdgeCorners:
        """The half-edges of each edge, and so the faces that meet there."""
        _, corner, count = self._sorted_half_edges
        return EdgeCorners(corner, torch.cat([count.new_zeros(1), count.cumsum(0)]))

    @plain_property
    def is_border(self) -> Tensor:
        """[E] bool: whether an edge has not exactly two faces."""
        return self._sorted_half_edges[2] != 2

    @plain_property
    def is_turned(self) -> Tensor | None:
        """[E] bool: whether neighbours at an edge face different ways; None if none do.

        Then not as many of them run along it one way as the other.
        """
        edges, corner, count = self._sorted_half_edges
        forward = (self.welded_faces.reshape(-1)[corner] == edges[:, 0].repeat_interleave(count)).long()
        edge = torch.arange(len(count), device=corner.device).repeat_interleave(count)
        n_forward = torch.zeros_like(count).index_add(0, edge, forward)
        found = (count > 1) & (2 * n_forward != count) & (edges[:, 0] != edges[:, 1])
        return found if bool(found.any()) else None

    @plain_property
    def edge_of_corner(self) -> Tensor:
        """[3F] int64: the edge that each corner's half-edge is on."""
        _, corner, count = self._sorted_half_edges
        edge = torch.arange(len(count), device=corner.device).repeat_interleave(count)
        return torch.empty_like(corner).scatter_(0, corner, edge)

    @plain_property
    def edge_sides(self) -> Tensor:
        """[E, 2] int32: the two faces of each edge, f if face f runs along it forwards, -1 - f if backwards.

        An edge without exactly two faces has its first face twice.
        """
        edges, corner, count = self._sorted_half_edges
        first = count.cumsum(0) - count
        two = torch.stack([corner[first], corner[torch.where(count == 2, first + 1, first)]], 1)
        forward = self.welded_faces.reshape(-1)[two] == edges[:, :1]
        return torch.where(forward, two // 3, -1 - two // 3).int()

    @plain_property
    def edge_pairs(self) -> Tensor:
        """[I, 2] int64: the two faces of every edge that has exactly two."""
        _, corner, count = self._sorted_half_edges
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])[:-1][count == 2]
        return torch.stack([corner[first] // 3, corner[first + 1] // 3], 1)

    @on_plain_tensors()
    def seams(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edges [S] at which two faces meet with other numbers in `faces` at an end, and these numbers.

        faces: [F, 3] int64; the numbers that corners have, such as their own vertices or texture coordinates.
        Returns edge [S] int64 and numbers [S, 2 (face), 2 (end)] int64, both faces with the same end first. Of an edge
        with more than two faces, each face is compared with the next.
        """
        if id(faces) not in self._seams:
            edges, corner, count = self._sorted_half_edges
            owner = torch.arange(len(count), device=corner.device).repeat_interleave(count)
            first = torch.nonzero((owner[1:] == owner[:-1]) & (edges[owner[1:], 0] != edges[owner[1:], 1]))[:, 0]
            two = torch.stack([corner[first], corner[first + 1]], 1)
            following = two - two % 3 + (two % 3 + 1) % 3
            numbers = faces.reshape(-1)[torch.stack([two, following], 2)]
            # Neighbours that face the same way run along their edge in opposite directions.
            start = self.welded_faces.reshape(-1)[two]
            is_opposite = (start[:, 0] != start[:, 1])[:, None]
            other = torch.where(is_opposite, numbers[:, 1].flip(1), numbers[:, 1])
            differs = (numbers[:, 0] != other).any(1)
            if len(self._seams) >= MOST_SEAMS:
                del self._seams[next(iter(self._seams))]
            # With the tensor itself, so that its id is not used again.
            self._seams[id(faces)] = faces, owner[first[differs]], torch.stack([numbers[:, 0], other], 1)[differs]
        return self._seams[id(faces)][1:]

    @plain_property
    def face_component(self) -> Tensor:
        """[F] int64: the connected component of each face; faces that share a vertex are connected."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        if not self.faces.numel():
            return self.faces.new_zeros(0)
        sides = torch.cat([self.welded_faces[:, :2], self.welded_faces[:, 1:]]).cpu().numpy()
        n_vertices = int(self.welded_faces.max()) + 1
        graph = coo_matrix((sides[:, 0] >= 0, (sides[:, 0], sides[:, 1])), shape=(n_vertices, n_vertices))
        label = torch.from_numpy(connected_components(graph, directed=False)[1]).long().to(self.faces.device)
        # Numbered from 0 again: vertices without a face have labels of their own.
        return label[self.welded_faces[:, 0]].unique(return_inverse=True)[1]

    @plain_property
    def n_components(self) -> int:
        """The number of connected components."""
        return int(self.face_component.max()) + 1 if self.faces.numel() else 0

    @plain_property
    def is_closed(self) -> bool:
        """Whether every edge has exactly two faces, which run along it in opposite directions."""
        edges, corner, count = self._sorted_half_edges
        if not self.faces.numel() or not bool((count == 2).all()):
            return False
        forward = self.welded_faces.reshape(-1)[corner] == edges[:, 0].repeat_interleave(2)
        return bool((forward[0::2] != forward[1::2]).all())


class _Welded(NamedTuple):
    """The border vertices that count as others, these others, the rest of the border, and the topology of all.

    topology: None if no vertex counts as another.
    """

    vertex: Tensor
    twin: Tensor
    alone: Tensor
    topology: Topology | None

    def is_as_found(self, vertices: Tensor) -> bool:
        """Return whether what counts as one still coincides, and no others of the border do."""
        from diffrender.geometry.coincidence import all_coincide, any_coincide  # Numba, which writers do without

        if is_kept():
            if len(self.vertex):
                tell_wrong((vertices[self.vertex] != vertices[self.twin]).any())
            hold(self)
            return True
        return all_coincide(vertices, self.vertex, self.twin) and not any_coincide(vertices, self.alone)


class _Known:
    """What is kept of the last topology of a tensor of faces.

    last: that topology. welded: what was found out of its vertices, still to be compared with others.
    """

    def __init__(self, faces: Tensor) -> None:
        self.faces, self.contents = faces, faces.clone()
        self.last: Topology | None = None
        self.welded: _Welded | None = None

    @staticmethod
    def of(faces: Tensor) -> _Known:
        """Return what is known of `faces`; nothing if its contents have changed or it was not seen of late."""
        with _lock:
            known = next((known for known in _recent if known.faces is faces), None)
            if known is not None:
                _recent.remove(known)
            # Contents are compared, since writes through NumPy leave no trace.
            if known is None or not (is_kept() or torch.equal(known.contents, faces)):
                known = _Known(faces)
            _recent.append(known)
            while len(_recent) > MOST_RECENT or (
                len(_recent) > 1 and sum(len(other.faces) for other in _recent) > MOST_RECENT_FACES
            ):
                del _recent[0]
        return known


# What depends on the faces alone.
_OF_FACES = tuple(name for name, value in vars(Topology).items() if isinstance(value, cached_property))
_recent: list[_Known] = []
_lock = Lock()


def _forget_lock() -> None:
    """In a forked process, where another thread may have held it."""
    global _lock
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


@on_plain_tensors()
def join_topologies(topologies: Sequence[Topology], n_vertices: Sequence[int]) -> Topology:
    """Return the topology of several meshes as one, their vertices concatenated; reuses what is known of the parts."""
    starts = [sum(n_vertices[:i]) for i in range(len(n_vertices))]
    faces = torch.cat([part.faces + start for part, start in zip(topologies, starts, strict=True)])
    if any(part.welded_faces is not part.faces for part in topologies):
        joined = Topology(faces, torch.cat([part.welded_faces + i for part, i in zip(topologies, starts, strict=True)]))
    else:
        joined = Topology(faces)
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


def first_equal_row(rows: Tensor) -> Tensor:
    """Return [B] int64: the index of the first of the rows [B, K] that equals each row; its own if it holds a NaN."""
    group = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for column in rows.unbind(1):
        number = torch.unique(column, return_inverse=True)[1]
        group = torch.unique(group * max(1, len(rows)) + number, return_inverse=True)[1]
    index = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(index, len(rows)).scatter_reduce(0, group, index, "amin")
    return first[group]
