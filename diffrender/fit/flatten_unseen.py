"""Flatten the parts of a carved shape that no view shows, such as the bottom of what stands on a table.

A visual hull is the largest shape that silhouettes allow: where no camera looks it bulges, and nothing in the images
pulls that back. If the rim of such a part is flat and walls rise from it, the smallest surface in it, a membrane, is a
better guess; the cap of a ball that no camera sees has a flat rim as well, but goes on as it began.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffrender.geometry.cotangents import cotangent_weights
from diffrender.geometry.mesh_checks import self_intersections
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.topology import Topology
from diffrender.render.edge_models.hard import Hard
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene

# Smaller parts lie between pixels.
FEWEST_VERTICES = 30
# Of the surface: of a plate about half is unseen.
MOST_UNSEEN = 0.5
# The thickness of a rim that counts as flat, as a share of its width (root mean squares).
FLAT = 0.1
# The cosine between what is seen around a rim and its plane, area by area: above it there is no wall.
STEEP = 0.4
# The sine of the height at which one of the cameras must stand above a rim's plane, at most: who looks down from higher
# cannot tell a wall from a ball's side.
HIGHEST = 0.6
# What moves less than this share of its rim's width was flat already.
LEAST_MOVE = 0.02
# The least weight of an edge of a membrane.
FLATTEST = 0.05


@torch.no_grad()
def flatten_unseen(scene: Scene, name: str, cameras: Cameras, weights: Tensor | None = None) -> Scene:
    """Return `scene` with membranes in place of the parts of an object that no view shows and that are bottoms.

    Those have a flat rim with walls around, and face away from all cameras, one of which stands low enough to see the
    walls. Those that are flat, or whose membrane views would show, stay. The scene itself if none is left, if more than
    MOST_UNSEEN of the surface is unseen, or if the surface would cross itself. weights: [N, H, W] of the pixels of the
    views; what is seen only where they are 0 is unseen. None: all count.
    """
    item = scene.objects[name]
    mesh = item.mesh
    seen = torch.zeros(mesh.n_vertices, dtype=torch.bool, device=mesh.faces.device)
    shows = _shown_faces(scene, name, _face_ids(scene, cameras), weights)
    seen[mesh.faces[shows].reshape(-1)] = True
    parts = _unseen_parts(mesh, seen)
    if not parts or _share_of_area(mesh, parts) > MOST_UNSEEN:
        return scene
    looking = cameras if weights is None else cameras.select(torch.nonzero(weights.flatten(1).any(1))[:, 0])
    placed = mesh.with_vertices(item.vertices_w())
    bottoms = [part for part in parts if _is_bottom(mesh, part, seen) and _is_turned_away(placed, part, looking)]
    while bottoms:
        flat = mesh.with_vertices(_membrane(mesh, torch.stack(bottoms).any(0)))
        moved = [part for part in bottoms if _moves(mesh, flat, part)]
        found = replace(scene, objects=scene.objects | {name: replace(item, mesh=flat)})
        shown = mesh.faces[_shown_faces(found, name, _face_ids(found, cameras), weights)]
        hidden = [part for part in moved if not bool(part[shown].any())]
        if len(hidden) == len(bottoms):
            return found if _crossings(flat) <= _crossings(mesh) else scene
        bottoms = hidden
    return scene


def _face_ids(scene: Scene, cameras: Cameras) -> list[Tensor]:
    """Return the index of the face [H, W] that each pixel of each view shows, -1 for none."""
    views = (cameras.select([view]) for view in range(len(cameras)))
    return [render(scene, view, Hard(), aovs=("depth",)).face_id[0] for view in views]


def _shown_faces(scene: Scene, name: str, face_ids: list[Tensor], weights: Tensor | None) -> Tensor:
    """Return which faces of the object are seen, [F] bool."""
    first = sum(
        len(scene.objects[other].mesh.faces) for other in list(scene.objects)[: list(scene.objects).index(name)]
    )
    faces = scene.objects[name].mesh.faces
    seen = torch.zeros(len(faces), dtype=torch.bool, device=faces.device)
    for view, face_id in enumerate(face_ids):
        shown = face_id if weights is None else face_id[weights[view].to(face_id.device) > 0]
        shown = shown[(shown >= first) & (shown < first + len(faces))]
        seen[shown - first] = True
    return seen


def _unseen_parts(mesh: Mesh, seen: Tensor) -> list[Tensor]:
    """Return the connected parts, [V] bool each, of the vertices that are neither seen [V] nor next to seen ones."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start, end = mesh.topology.edges.T
    free = ~(seen | _next_to(mesh, seen))
    inside = (free[start] & free[end]).cpu().numpy()
    edges = start.cpu().numpy()[inside], end.cpu().numpy()[inside]
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(mesh.n_vertices, mesh.n_vertices))
    _, label = connected_components(graph, directed=False)
    labels = torch.from_numpy(label.astype(np.int64)).to(free.device)
    sizes = torch.bincount(labels[free], minlength=int(labels.max()) + 1 if len(labels) else 0)
    return [free & (labels == part) for part in torch.nonzero(sizes >= FEWEST_VERTICES)[:, 0].tolist()]


def _share_of_area(mesh: Mesh, parts: list[Tensor]) -> float:
    corners = mesh.vertices[mesh.faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    inside = torch.stack([part[mesh.faces].any(1) for part in parts]).any(0)
    return float(area[inside].sum() / area.sum())


def _next_to(mesh: Mesh, part: Tensor) -> Tensor:
    """Return the vertices [V] bool that are not in a part, but next to it."""
    start, end = mesh.topology.edges.T
    found = torch.zeros_like(part)
    found[start[part[end]]] = True
    found[end[part[start]]] = True
    return found & ~part


def _is_bottom(mesh: Mesh, part: Tensor, seen: Tensor) -> bool:
    """Whether the rim of a part is flat, and what is seen around it rises from its plane."""
    rim = _next_to(mesh, part)
    points = mesh.vertices[rim].double()
    if len(points) < 3:
        return False
    _, spread, axes = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    beyond = seen & _next_to(mesh, rim | part)
    around = mesh.faces[seen[mesh.faces].all(1) & beyond[mesh.faces].any(1)]
    corners = mesh.vertices[around].double()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = normal.norm(dim=1).sum()
    return bool((spread[2] < FLAT * spread[1]) & ((normal @ axes[2]).abs().sum() < STEEP * total))


def _is_turned_away(mesh: Mesh, part: Tensor, cameras: Cameras) -> bool:
    """Whether a part of a mesh in the world faces away from all cameras, one of which stands low above its rim."""
    corners = mesh.vertices[mesh.faces[part[mesh.faces].all(1)]]
    outward = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).sum(0)
    middle = mesh.vertices[_next_to(mesh, part)].mean(0)
    towards = torch.nn.functional.normalize(cameras.positions_w().to(middle) - middle, dim=1)
    height = -(towards @ torch.nn.functional.normalize(outward, dim=0))
    return bool((height > 0).all() & (height < HIGHEST).any())


def _moves(mesh: Mesh, flat: Mesh, part: Tensor) -> bool:
    """Whether a part is elsewhere in the flat mesh, rather than flat already."""
    width = mesh.vertices[_next_to(mesh, part)].std(0).norm()
    return float((flat.vertices - mesh.vertices)[part].norm(dim=1).max()) > LEAST_MOVE * float(width)


def _membrane(mesh: Mesh, free: Tensor) -> Tensor:
    """Return the vertices [V, 3], the free ones where a membrane held by the others comes to rest."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    vertices, topology, moves = mesh.vertices.detach().double().cpu(), Topology(mesh.faces.cpu()), free.cpu()
    start, end = topology.edges.T
    # Obtuse triangles have negative weights, which could turn a face over.
    weight = cotangent_weights(vertices, topology).clamp_min(FLATTEST)
    row, column = torch.cat([start, end]).numpy(), torch.cat([end, start]).numpy()
    shape = (len(vertices), len(vertices))
    matrix = coo_array((weight.repeat(2).numpy(), (row, column)), shape=shape).tocsr()
    total = np.asarray(matrix.sum(1)).reshape(-1)
    inner, outer = torch.nonzero(moves)[:, 0].numpy(), torch.nonzero(~moves)[:, 0].numpy()
    rows = matrix[inner]
    system = coo_array((total[inner], (np.arange(len(inner)),) * 2)).tocsc() - rows[:, inner].tocsc()
    vertices[moves] = torch.from_numpy(spsolve(system, rows[:, outer] @ vertices[~moves].numpy()))
    return vertices.to(mesh.vertices)


def _crossings(mesh: Mesh) -> int:
    return len(self_intersections(Triangles(mesh.vertices.cpu(), mesh.faces.cpu())))
