"""Meshes as Wavefront OBJ."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffrender.checks import as_path, check_colors, check_finite, check_shape, check_type
from diffrender.errors import ShapeError
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.shading_points import VertexFrames
from diffrender.scene.textures.texture import Texture
from diffrender.writers.atomic import write_text
from diffrender.writers.meshes.mtl import MATERIAL_NAME, material_lines, write_maps


def write_obj(
    path: Path,
    mesh: Mesh,
    vertex_colors: Tensor | None = None,
    texture: Texture | None = None,
    surface: GltfSurface | None = None,
) -> None:
    """Write a mesh as Wavefront OBJ; vertices, their order and their sharing across UV seams are kept.

    path: the .obj file; the others are written beside it.
    mesh: vertices [V, 3] and faces [F, 3], with or without texture coordinates. Positions are written with the 9 digits
        that a float32 can need, 15 of a float64.
    vertex_colors: linear RGB in 0..1, [V, 3], or [3] for all vertices; written sRGB-encoded after each position, an
        extension that MeshLab, Blender and trimesh read.
    texture: linear RGB, written as <stem>.png, with a <stem>.mtl that names it; the mesh must have uvs.
    surface: a whole material instead of these two. What is uniform or a texture and not plainly diffuse is written to
        <stem>.mtl: roughness and metallic as Pr and Pm, emission as Ke, a normal map as norm, with their maps as
        <stem>_roughness.png and so on. Of values per vertex only the colour can be written.

    Raises ShapeError for an empty or non-finite mesh, wrong shapes, or a texture without uvs, DataError if a file
    cannot be written.

        write_obj("mesh.obj", item.mesh, texture=item.material.base_color)
    """
    path = as_path("write_obj", "path", path)
    check_type("write_obj", "mesh", mesh, Mesh)
    mesh.check("write_obj")
    if surface is not None:
        is_texture = isinstance(surface.base_color, Texture)
        vertex_colors = None if is_texture else surface.base_color  # type: ignore[assignment]
        texture = surface.base_color if is_texture else None  # type: ignore[assignment]
    material = material_lines(path, mesh.uvs, vertex_colors, texture, surface)
    if mesh.uvs is None and any(line.startswith(("map_", "norm ")) for line in material):
        raise ShapeError(
            "write_obj: a texture needs a mesh with uvs, but this one has none; write vertex colours instead"
        )
    lines = ["# written by diffrender"]
    if material:
        lines.append(f"mtllib {path.stem}.mtl")
    lines += _vertex_lines(mesh.vertices, vertex_colors)
    if mesh.uvs is not None:
        # OBJ counts v upwards from the bottom of the picture.
        flipped = mesh.uvs.detach().double().cpu() * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
        lines += [f"vt {u:.9g} {v:.9g}" for u, v in flipped.tolist()]
    if mesh.normal_faces is None:
        lines.append("s 1")  # smooth shading: without normals in the file, many programs show facets otherwise
    else:
        normals = VertexFrames(mesh, mesh.vertices, backend="reference").normals_w.detach().cpu()
        lines += [f"vn {x:.6g} {y:.6g} {z:.6g}" for x, y, z in normals.tolist()]
    if material:
        lines.append(f"usemtl {MATERIAL_NAME}")
        write_text(path.with_suffix(".mtl"), "\n".join(material) + "\n")
        write_maps(path, texture, surface)
    lines += _face_lines(mesh)
    write_text(path, "\n".join(lines) + "\n")


def _vertex_lines(vertices: Tensor, vertex_colors: Tensor | None) -> list[str]:
    digits = 9 if vertices.dtype == torch.float32 else 15
    positions = [" ".join(f"{value:.{digits}g}" for value in row) for row in vertices.detach().cpu().tolist()]
    if vertex_colors is None:
        return [f"v {position}" for position in positions]
    check_type("write_obj", "vertex_colors", vertex_colors, Tensor, "a torch.Tensor")
    if vertex_colors.dim() == 1:
        vertex_colors = vertex_colors.expand(len(vertices), -1)
    check_shape("write_obj", "vertex_colors", vertex_colors, (len(vertices), 3))
    check_colors("write_obj", "vertex_colors", vertex_colors)
    check_finite("write_obj", "vertex_colors", vertex_colors)
    encoded = srgb_from_linear(vertex_colors.detach().cpu().clamp(0, 1)).tolist()
    return [f"v {position} {r:.6g} {g:.6g} {b:.6g}" for position, (r, g, b) in zip(positions, encoded, strict=True)]


def _face_lines(mesh: Mesh) -> list[str]:
    columns = [mesh.faces, mesh.uv_faces, mesh.normal_faces]
    if columns[2] is None:
        columns = columns[:2] if columns[1] is not None else columns[:1]
    text = [[[""] * 3] * mesh.n_faces if column is None else (column + 1).tolist() for column in columns]
    return [
        "f " + " ".join("/".join(map(str, corner)) for corner in zip(*face, strict=True))
        for face in zip(*text, strict=True)
    ]
