"""What a mesh is like: closed or open, its parts and handles, and what is wrong with it."""

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
# Neighbours whose normals differ by more are folded onto each other: no edge that is meant is as sharp.
FOLD_DEG = 150.0


@dataclass(frozen=True)
class MeshReport:
    """Findings about a mesh. Vertices that no face uses do not count.

    n_vertices, n_faces: how many.
    watertight: every edge has exactly two faces, which run along it in opposite directions.
    manifold: no edge has more than two faces, neighbours run along their edge in opposite directions, and the faces
        around each vertex are one fan; with a boundary or without.
    components: connected parts; parts that touch in a vertex are one.
    euler: vertices - edges + faces.
    genus: handles of the closed parts together, 0 for spheres, 1 for a torus. Each is counted as if vertices where
        several fans meet were several vertices. Open parts do not count.
    boundary_edges: edges with one face.
    self_intersections: pairs of faces that cross, or overlap; neighbours that only touch do not count.
    slivers: faces with an angle under 5 degrees, those without area among them.
    folded_faces: pairs of neighbours whose normals are more than 150 degrees apart.
    smallest_angle_deg: over all faces; 0 where one has no area, 60 at most.
    volume: enclosed by a watertight mesh, negative where it is inside out; for an open one, that of the cone from its
        middle, which says little. In cubic units.
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
    """Return the report of a mesh: vertices [V, 3] float, finite; faces [F, 3] int64. 200,000 faces: a second or two.

    Raises ShapeError for a wrong shape or index, or a non-finite vertex.
    """
    vertices, faces = surface = check_triangles("check_mesh", surface)
    topology = Topology(faces)
    n_vertices = len(faces.unique())
    fan, n_fans = _fans(topology)
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
    """Return [K, 2] int64: the pairs of faces, lower one first, sorted, that have more in common than they should.

    Faces that cross each other, or overlap in a common area, whether or not they share corners; the same
    face twice. Not those that touch in a point or along edges, as neighbours do; corners at exactly the same position
    are the same corner. Contacts closer than the rounding of float64 count as touching. Faces without area cross none.
    Raises ShapeError as `check_mesh`.
    """
    vertices, faces = check_triangles("self_intersections", surface)
    if not len(faces):
        return faces.new_zeros(0, 2)
    from diffrender.geometry.bvh import build_bvh
    from diffrender.geometry.triangle_intersection_kernel import crossings

    return torch.from_numpy(crossings(build_bvh(vertices.numpy(), faces.numpy())))


def _joints(topology: Topology) -> Tensor:
    """Return [J, 2] int64: the half-edges of each edge that has exactly two, running in opposite directions."""
    corner, offset = topology.edge_corners
    first = offset[:-1][offset.diff() == 2]
    pairs = torch.stack([corner[first], corner[first + 1]], 1)
    start = topology.faces.reshape(-1)
    return pairs[start[pairs[:, 0]] != start[pairs[:, 1]]]


def _next(corner: Tensor) -> Tensor:
    """Return the corner where a half-edge ends."""
    return corner - corner % 3 + (corner + 1) % 3


def _fans(topology: Topology) -> tuple[Tensor, int]:
    """Return [3F] int64: the fan of faces that each corner is in, by number; fans end at edges that are not joints."""
    joints = _joints(topology)
    # The end of one half-edge is the start of the other.
    ends = torch.cat([torch.stack([joints[:, 0], _next(joints[:, 1])], 1),
                      torch.stack([_next(joints[:, 0]), joints[:, 1]], 1)])  # fmt: skip
    return _link(ends, 3 * len(topology.faces))


def _link(links: Tensor, count: int) -> tuple[Tensor, int]:
    """Return a number of the connected part that each of `count` things is in, and how many parts there are."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not count:
        return links.new_zeros(0), 0
    start, end = links.numpy().T
    graph = coo_matrix((start >= 0, (start, end)), shape=(count, count))
    n_parts, label = connected_components(graph, directed=False)
    return torch.from_numpy(label).long(), int(n_parts)


def _genus(topology: Topology, fan: Tensor) -> int:
    """Return the genus: summed over closed sheets (parts connected by joints), (2 - fans + edges - faces) / 2."""
    n_faces = len(topology.faces)
    joints = _joints(topology)
    sheet, n_sheets = _link(joints // 3, n_faces)
    faces_of = torch.bincount(sheet, minlength=n_sheets)
    joints_of = torch.bincount(sheet[joints[:, 0] // 3], minlength=n_sheets)
    fan_sheet = torch.zeros(len(fan), dtype=torch.int64)
    fan_sheet[fan] = sheet.repeat_interleave(3)
    fans_of = torch.bincount(fan_sheet[: int(fan.max()) + 1 if len(fan) else 0], minlength=n_sheets)
    # Closed: each of the three half-edges of its faces is in a joint.
    is_closed = 2 * joints_of == 3 * faces_of
    handles = (2 - fans_of + joints_of - faces_of) // 2
    return int(handles[is_closed].sum())


def _smallest_angles_deg(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return [F] the smallest angle of each face; 0 for one without area."""
    corners = vertices[faces]
    to_next, to_last = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    sine = torch.linalg.cross(to_next, to_last, dim=-1).norm(dim=-1)
    angles = torch.atan2(sine, (to_next * to_last).sum(-1))
    return torch.rad2deg(angles.amin(1)).where(sine.amin(1) > 0, 0.0)


def _angles_between(normals: Tensor, pairs: Tensor) -> Tensor:
    """Return [I] degrees between the normals of each pair of faces; 0 where a face has none."""
    one, other = normals[pairs[:, 0]], normals[pairs[:, 1]]
    return torch.rad2deg(torch.atan2(torch.linalg.cross(one, other, dim=-1).norm(dim=-1), (one * other).sum(-1)))


def _volume(vertices: Tensor, faces: Tensor) -> float:
    if not len(faces):
        return 0.0
    # About the middle: far from the origin the parts would be large and cancel.
    a, b, c = (vertices - vertices[faces.unique()].mean(0))[faces].unbind(1)
    return float((a * torch.linalg.cross(b, c, dim=-1)).sum()) / 6
