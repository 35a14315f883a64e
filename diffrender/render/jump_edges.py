"""Jumps: edges inside a surface across which its values change abruptly, so that they count as silhouettes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from diffrender.derivatives import without_derivatives
from diffrender.geometry.topology import Topology
from diffrender.list_sizes import has_sizes
from diffrender.ops.changes_across import changes_across
from diffrender.render.scene_triangles import SceneTriangles
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import NORMAL, kinds_of, textures_of, vertex_fields_of
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import VertexFrames
from diffrender.scene.textures.texture import Texture

# The least change of a value, or of the length of the difference of two unit normals (about 2 degrees), that counts: a
# curved surface of many flat faces changes by less at each of its edges, and takes many times as long if all count.
LEAST_JUMP = 0.035


@without_derivatives()
def find_jumps(
    scene: Scene, geometry: SceneTriangles, aovs: Sequence[str], backend: str | None = None
) -> Tensor | None:
    """Return [E] bool of geometry.topology.edges: where colours or normals of one surface change at a step; or None.

    They do where the corners of two faces coincide but are not one vertex, or have normals or texture coordinates of
    their own, and the values differ; where one part of a surface ends and another begins, which has a material of its
    own; and where neighbours face different ways, since a normal is reversed where the back of its face is seen.
    """
    found = []
    first = 0
    for topology, n_parts in geometry.surfaces:
        objects = list(zip(scene.objects.values(), geometry.frames_by_object, strict=True))[first : first + n_parts]
        first += n_parts
        if n_parts == 1:
            item, frames = objects[0]
            found.append((topology, _jumps_of(item, frames, topology, aovs, backend)))
        else:
            found.append((topology, _jumps_of_parts(objects, topology, aovs, backend)))
    if all(jumps is None for _, jumps in found):
        return None
    empty = [topology.faces.new_zeros(len(topology.edges), dtype=torch.bool) for topology, _ in found]
    return torch.cat([none if jumps is None else jumps for none, (_, jumps) in zip(empty, found, strict=True)])


def _jumps_of_parts(
    objects: Sequence[tuple[Object, VertexFrames]], topology: Topology, aovs: Sequence[str], backend: str | None
) -> Tensor | None:
    """Return [E] bool for the joined `topology` of several objects: edges between two of them, and jumps within."""
    result = torch.zeros(len(topology.edges), dtype=torch.bool, device=topology.faces.device)
    first_corner = 0
    lowest = torch.full((len(result),), len(objects), device=result.device)
    highest = torch.full_like(lowest, -1)
    for number, (item, frames) in enumerate(objects):
        edge_of_corner = topology.edge_of_corner[first_corner : first_corner + 3 * item.mesh.n_faces]
        first_corner += len(edge_of_corner)
        lowest[edge_of_corner] = lowest[edge_of_corner].clamp(max=number)
        highest[edge_of_corner] = number
        own = item.mesh.welded_topology
        jumps = _jumps_of(item, frames, own, aovs, backend)
        if jumps is not None:
            result[edge_of_corner[jumps[own.edge_of_corner]]] = True
    result |= lowest < highest
    return result if has_sizes() or bool(result.any()) else None


def _jumps_of(
    item: Object, frames: VertexFrames, topology: Topology, aovs: Sequence[str], backend: str | None
) -> Tensor | None:
    """Return [E] bool for one object, or None if it has no jumps."""
    has_normals = ("color" in aovs and item.material.needs_light) or "normal" in aovs
    result = topology.is_turned.clone() if has_normals and topology.is_turned is not None else None
    for value, faces in _corner_values(item, frames, has_normals):
        if faces is topology.welded_faces:
            continue
        edge, sides = topology.seams(faces)
        if len(edge) == 0:
            continue
        if isinstance(value, Texture):
            value, sides = _sample_sides(value, item.mesh.uvs, sides, backend)
            edge = edge.repeat(2)
        jumps = changes_across(value, sides, LEAST_JUMP, backend=backend)
        if result is None:
            result = torch.zeros(len(topology.edges), dtype=torch.bool, device=edge.device)
        found = torch.zeros(len(result), dtype=torch.int32, device=edge.device).index_add(0, edge, jumps.int())
        result |= found > 0
    return None if result is None or not (has_sizes() or bool(result.any())) else result


def _sample_sides(texture: Texture, uvs: Tensor, sides: Tensor, backend: str | None) -> tuple[Tensor, Tensor]:
    """Return values of a texture at both ends of the edges [E] of `sides`, and then in their middles; and the sides."""
    at = uvs[sides]
    at = torch.cat([at, at.mean(2, keepdim=True).expand_as(at)]).reshape(-1, 2)
    return texture.sample(at, backend=backend), torch.arange(len(at), device=at.device).reshape(-1, 2, 2)


def _corner_values(item: Object, frames: VertexFrames, has_normals: bool) -> Iterator[tuple[Tensor | Texture, Tensor]]:
    """Yield values [K, C] of the surface, and the faces [F, 3] that say which of them each corner has.

    Of textures, the faces are those of texture coordinates. Those of normals are not among them: on either side of an
    edge, their frames differ.
    """
    kinds = kinds_of(item.material)
    for name, texture in textures_of(item.material).items():
        if item.mesh.uv_faces is not None and kinds[name] != NORMAL:
            yield texture, item.mesh.uv_faces
    for value in vertex_fields_of(item.material, item.mesh.n_vertices).values():
        yield value, item.mesh.faces
    if has_normals:
        yield frames.normals_w, frames.normal_faces
