"""Meshes as Wavefront OBJ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.mesh import Mesh
from diffrender.scene.texture import Texture
from diffrender.writers.atomic import write_text
from diffrender.writers.images import write_png

MATERIAL_NAME = "surface"


def write_obj(path: Path, mesh: Mesh, vertex_colors: Tensor | None = None, texture: Texture | None = None) -> None:
    """Write `mesh` as an OBJ that keeps its vertices, their order and their sharing across UV seams.

    vertex_colors: [V, 3], or [3] for all vertices, linear; written sRGB-encoded after each position, the extension
        that MeshLab, Blender and trimesh read.
    texture: written as <stem>.png beside the OBJ, with a <stem>.mtl that names it; the mesh must have uvs.

    OBJ's v axis points up: it is flipped here. All 9 digits that a float32 can need are written.

    Raises: ShapeError for an empty or non-finite mesh, wrong shapes, or a texture without uvs; DataError where a file
    cannot be written.
    """
    path = Path(path)
    mesh.check("write_obj")
    if texture is not None and mesh.uvs is None:
        raise ShapeError("write_obj: a texture needs a mesh with uvs, this one has none; write vertex colours instead")
    lines = ["# written by diffrender"]
    if texture is not None:
        lines.append(f"mtllib {path.stem}.mtl")
    lines += _vertex_lines(mesh.vertices, vertex_colors)
    if mesh.uvs is not None:
        flipped = mesh.uvs.detach().double().cpu() * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
        lines += [f"vt {u:.9g} {v:.9g}" for u, v in flipped.tolist()]
    lines.append("s 1")  # smooth shading: without normals in the file, many programs would show facets
    if texture is not None:
        lines.append(f"usemtl {MATERIAL_NAME}")
    lines += _face_lines(mesh)
    if texture is not None:
        _write_material(path, texture)
    write_text(path, "\n".join(lines) + "\n")


def _vertex_lines(vertices: Tensor, vertex_colors: Tensor | None) -> list[str]:
    positions = vertices.detach().cpu().tolist()
    if vertex_colors is None:
        return [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in positions]
    if vertex_colors.dim() == 1:
        vertex_colors = vertex_colors.expand(len(vertices), -1)
    check_shape("write_obj", "vertex_colors", vertex_colors, (len(vertices), 3))
    encoded = srgb_from_linear(vertex_colors.detach().cpu().clamp(0, 1)).tolist()
    return [
        f"v {x:.9g} {y:.9g} {z:.9g} {r:.6g} {g:.6g} {b:.6g}"
        for (x, y, z), (r, g, b) in zip(positions, encoded, strict=True)
    ]


def _face_lines(mesh: Mesh) -> list[str]:
    faces = mesh.faces.cpu().numpy() + 1
    if mesh.uv_faces is None:
        return [f"f {a} {b} {c}" for a, b, c in faces.tolist()]
    corners = np.concatenate([faces, mesh.uv_faces.cpu().numpy() + 1], 1)
    return [f"f {a}/{ta} {b}/{tb} {c}/{tc}" for a, b, c, ta, tb, tc in corners.tolist()]


def _write_material(path: Path, texture: Texture) -> None:
    write_png(path.with_suffix(".png"), texture.texels)
    text = f"newmtl {MATERIAL_NAME}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {path.stem}.png\n"
    write_text(path.with_suffix(".mtl"), text)
