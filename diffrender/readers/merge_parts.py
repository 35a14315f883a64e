"""Merge the parts of a mesh file into one mesh with one texture atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.imaging.inpaint import fill_nearest
from diffrender.readers.mesh_data import Finish, MeshData
from diffrender.scene.mesh import Mesh
from diffrender.scene.shading_points import VertexFrames
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
from diffrender.scene.textures.texel_to_surface import covered_texels
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import transfer_normal_map, transfer_texture


def merge_parts(parts: Sequence[MeshData], resolution: int) -> MeshData:
    """Return the parts as one mesh, unwrapped, with square textures of `resolution` texels per side for all of them.

    Colours per vertex and what is uniform in one part only become texels too. Parts are not welded to each other; if
    any has normals, the others get smooth ones. Whether the whole is unlit, or reflects at its boundary, is what the
    first is.
    """
    atlas = unwrap_mesh(_join([part.mesh for part in parts]), resolution)
    ends = torch.tensor([part.mesh.n_faces for part in parts]).cumsum(0).tolist()
    assert atlas.uv_faces is not None
    placed = [
        replace(part.mesh, uvs=atlas.uvs, uv_faces=atlas.uv_faces[end - part.mesh.n_faces : end])
        for part, end in zip(parts, ends, strict=True)
    ]

    def merged(name: str) -> Texture:
        texels = torch.zeros(resolution, resolution, 3)
        covered = torch.zeros(resolution, resolution, dtype=torch.bool)
        for part, mesh in zip(parts, placed, strict=True):
            inside = covered_texels(mesh, resolution, resolution)
            texels[inside] = _texels(part, name, mesh, resolution)[inside]
            covered |= inside
        return Texture(fill_nearest(texels, covered))

    first = parts[0].finish
    finishes = {part.finish for part in parts}
    names = {name for part in parts for name in part.maps}
    if len({(finish.metallic, finish.roughness) for finish in finishes}) > 1:
        names.add("metallic_roughness")
    if len({finish.emissive for finish in finishes}) > 1:
        names.add("emissive")
    finish = first if len(finishes) == 1 else Finish(specular=first.specular, unlit=first.unlit)
    maps = {name: merged(name) for name in sorted(names)}
    return MeshData(atlas, None, merged("base_color"), maps=maps, finish=finish)


def _join(meshes: Sequence[Mesh]) -> Mesh:
    starts = torch.tensor([0, *(mesh.n_vertices for mesh in meshes[:-1])]).cumsum(0).tolist()
    vertices = torch.cat([mesh.vertices for mesh in meshes])
    faces = torch.cat([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
    if all(mesh.normals is None for mesh in meshes):
        return Mesh(vertices, faces)
    frames = [VertexFrames(mesh, mesh.vertices, backend="reference") for mesh in meshes]
    counts = torch.tensor([0, *(len(each.normals_w) for each in frames[:-1])]).cumsum(0).tolist()
    numbered = torch.cat([each.normal_faces + start for each, start in zip(frames, counts, strict=True)])
    return Mesh(vertices, faces, normal_faces=numbered, normals=torch.cat([each.normals_w for each in frames]))


def _texels(part: MeshData, name: str, mesh: Mesh, resolution: int) -> Tensor:
    """Return [resolution, resolution, 3] of one quantity of a part, in the layout of `mesh`."""
    texture = part.texture if name == "base_color" else part.maps.get(name)
    if texture is not None:
        transfer = transfer_normal_map if name == "normal" else transfer_texture
        return transfer(texture, part.mesh, mesh, resolution).texels
    if name == "base_color" and part.vertex_colors is not None:
        return bake_to_texture(mesh, part.vertex_colors, resolution).texels
    uniform = {
        "base_color": (1.0, 1.0, 1.0),
        "metallic_roughness": (1.0, part.finish.roughness, part.finish.metallic),
        "normal": (0.0, 0.0, 1.0),
        "emissive": part.finish.emissive or (0.0, 0.0, 0.0),
    }[name]
    return torch.tensor(uniform).repeat(resolution, resolution, 1)
