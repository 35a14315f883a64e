"""Mesh diagnostics: topology, self-intersections, slivers, folds, volume and area."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.geometry.distances import check_triangles
from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.topology import Topology

# A triangle with a smaller angle is a sliver: cotangents there exceed 11, and normals are mostly noise.
SLIVER_DEG = 5.0
# Neighbours whose normals differ by more are folded onto each other; intended edges are less sharp.
FOLD_DEG = 150.0


@dataclass(frozen=True)
class MeshReport:
    """Properties and defects of a mesh. Vertices without a face do not count.

    n_vertices, n_faces: counts.
    watertight: every edge has exactly two faces with consistent orientation.
    manifold: no edge has more than two faces, neighbours are consistently oriented, and the faces around each vertex
        form one fan; with or without boundary.
    components: connected components; components that share a vertex count as one.
    euler: vertices - edges + faces.
    genus: total number of handles of the closed components: 0 for spheres, 1 for a torus. Vertices where several fans
        meet count as several vertices. Open components do not count.
    boundary_edges: edges with one face.
    self_intersections: pairs of faces that cross or overlap; neighbours that only touch do not count.
    slivers: faces with an angle under 5 degrees, including those without area.
    folded_faces: pairs of neighbours whose normals are more than 150 degrees apart.
    smallest_angle_deg: over all faces; 0 if one has no area, at most 60.
    volume: enclosed by a watertight mesh, negative if it is inside out, in cubic units; for an open mesh, the volume
        of the cone over it from its mean vertex, which means little.
    area: in square units.
    """

    n_vertices: int
    n_faces: int
    watertight: bool
    manifold: bool
    components: int
    euler: int
    genus: int
    boundary_edges: int
    self_intersections: int
    slivers: int
    folded_faces: int
    smallest_angle_deg: float
    volume: float
    area: float


def check_mesh(surface: Triangles) -> MeshReport:
    """Report on a mesh of vertices [V, 3] float, finite, and faces [F, 3] int64; 200,000 faces take a second or two.

    Raises ShapeError for a wrong shape or index, or a non-finite vertex.
    """
    vertices, faces = surface = check_triangles("check_mesh", surface)
    topology = Topology(faces)
    n_vertices = len(faces.unique())
    fan, n_fans = _label_fans(topology)
    normals = face_normals(vertices, faces)
    angles_deg = _smallest_angles_deg(vertices, faces)
    per_edge = topology.edge_corners.offset.diff()
    return MeshReport(
        n_vertices=n_vertices,
        n_faces=len(faces),
        watertight=topology.is_closed,
        manifold=bool((per_edge <= 2).all()) and len(_joints(topology)) == int((per_edge == 2).sum())
        and n_fans == n_vertices,
        components=topology.n_components,
        euler=n_vertices - len(topology.edges) + len(faces),
        genus=_genus(topology, fan),
        boundary_edges=int((per_edge == 1).sum()),
        self_intersections=len(self_intersections(surface)),
        slivers=int((angles_deg < SLIVER_DEG).sum()),
        folded_faces=int((_angles_between(normals, topology.edge_pairs) > FOLD_DEG).sum()),
        smallest_angle_deg=float(angles_deg.min()) if len(faces) else 0.0,
        volume=_volume(vertices, faces),
        area=float(normals.norm(dim=1).sum()) / 2,
    )  # fmt: skip


def self_intersections(surface: Triangles) -> Tensor:
    """Return the pairs of faces [K, 2] int64 that intersect, lower face first, sorted.

    Reported: faces that cross or overlap in an area, whether or not they share corners, and duplicate faces.
    Not reported: faces that touch in a point or along edges, as neighbours do; corners with equal coordinates are the
    same corner. Contacts within the rounding of float64 count as touching. Faces without area intersect none.
    Raises ShapeError as `check_mesh` does.
    """
    vertices, faces = check_triangles("self_intersections", surface)
    if not len(faces):
        return faces.new_zeros(0, 2)
    from diffrender.geometry.bvh import build_bvh
    from diffrender.geometry.triangle_intersection_kernel import find_crossing_pairs

    return torch.from_numpy(find_crossing_pairs(build_bvh(vertices.numpy(), faces.numpy())))


def _joints(topology: Topology) -> Tensor:
    """Return the half-edges [J, 2] int64 of each joint: an edge with exactly two, in opposite directions."""
    corner, offset = topology.edge_corners
    first = offset[:-1][offset.diff() == 2]
    pairs = torch.stack([corner[first], corner[first + 1]], 1)
    start = topology.faces.reshape(-1)
    return pairs[start[pairs[:, 0]] != start[pairs[:, 1]]]


def _next(corner: Tensor) -> Tensor:
    """Return the corner at the end of each half-edge."""
    return corner - corner % 3 + (corner + 1) % 3


def _label_fans(topology: Topology) -> tuple[Tensor, int]:
    """Return the label [3F] int64 of each corner's fan, and the number of fans; fans end at edges without joint."""
    joints = _joints(topology)
    # The end of one half-edge is the start of the other.
    ends = torch.cat([torch.stack([joints[:, 0], _next(joints[:, 1])], 1),
                      torch.stack([_next(joints[:, 0]), joints[:, 1]], 1)])  # fmt: skip
    return _label_components(ends, 3 * len(topology.faces))


def _label_components(links: Tensor, count: int) -> tuple[Tensor, int]:
    """Return the component label of each of `count` nodes linked by `links` [L, 2], and the number of components."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not count:
        return links.new_zeros(0), 0
    start, end = links.numpy().T
    graph = coo_matrix((start >= 0, (start, end)), shape=(count, count))
    n_parts, label = connected_components(graph, directed=False)
    return torch.from_numpy(label).long(), int(n_parts)


def _genus(topology: Topology, fan: Tensor) -> int:
    """Return the sum of (2 - fans + edges - faces) / 2 over the closed sheets; a sheet is connected by joints."""
    n_faces = len(topology.faces)
    joints = _joints(topology)
    sheet, n_sheets = _label_components(joints // 3, n_faces)
    faces_of = torch.bincount(sheet, minlength=n_sheets)
    joints_of = torch.bincount(sheet[joints[:, 0] // 3], minlength=n_sheets)
    fan_sheet = torch.zeros(len(fan), dtype=torch.int64)
    fan_sheet[fan] = sheet.repeat_interleave(3)
    fans_of = torch.bincount(fan_sheet[: int(fan.max()) + 1 if len(fan) else 0], minlength=n_sheets)
    # Closed: every half-edge of its faces belongs to a joint.
    is_closed = 2 * joints_of == 3 * faces_of
    handles = (2 - fans_of + joints_of - faces_of) // 2
    return int(handles[is_closed].sum())


def _smallest_angles_deg(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return the smallest angle [F] of each face; 0 for one without area."""
    corners = vertices[faces]
    to_next, to_last = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    sine = torch.linalg.cross(to_next, to_last, dim=-1).norm(dim=-1)
    angles = torch.atan2(sine, (to_next * to_last).sum(-1))
    return torch.rad2deg(angles.amin(1)).where(sine.amin(1) > 0, 0.0)


def _angles_between(normals: Tensor, pairs: Tensor) -> Tensor:
    """Return the angle [I] in degrees between the normals of each pair of faces; 0 if a face has none."""
    one, other = normals[pairs[:, 0]], normals[pairs[:, 1]]
    return torch.rad2deg(torch.atan2(torch.linalg.cross(one, other, dim=-1).norm(dim=-1), (one * other).sum(-1)))


def _volume(vertices: Tensor, faces: Tensor) -> float:
    if not len(faces):
        return 0.0
    # Relative to the mean vertex: far from the origin the terms would be large and cancel.
    a, b, c = (vertices - vertices[faces.unique()].mean(0))[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c, dim=-1)).sum()) / 6
