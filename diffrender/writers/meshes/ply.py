"""Meshes as PLY (Stanford polygon format), binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import as_path, check_colors, check_finite, check_shape, check_type
from diffrender.errors import ShapeError
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.shading_points import VertexFrames
from diffrender.scene.textures.texture import Texture
from diffrender.writers.atomic import write_bytes
from diffrender.writers.images.png import encode_srgb8, write_encoded_png

NAMES = {"<f4": "float", "<f8": "double", "|u1": "uchar", "<i4": "int"}


def write_ply(path: Path, mesh: Mesh, colors: SurfaceValue | None = None) -> None:
    """Write a mesh as PLY; vertices, their order and their sharing across UV seams are kept.

    path: the .ply file.
    mesh: vertices [V, 3] and faces [F, 3]; written in their own precision. If it has normals of its own or hard edges,
        normals are written: a vertex with several of them is doubled, and one that no face uses is omitted.
    colors: linear RGB in 0..1, [V, 3] or [3] for all vertices, written as 8-bit sRGB; or a texture, written beside it
        as <stem>.png, with texture coordinates per corner as MeshLab reads them.

    Raises ShapeError for an empty or non-finite mesh, wrong shapes, or a texture without uvs, DataError if a file
    cannot be written.

        write_ply("mesh.ply", item.mesh, item.material.base_color)
    """
    path = as_path("write_ply", "path", path)
    check_type("write_ply", "mesh", mesh, Mesh)
    mesh.check("write_ply")
    vertices, faces = mesh.vertices.detach().cpu(), mesh.faces.cpu()
    columns = {}
    source = torch.arange(mesh.n_vertices)
    if mesh.normal_faces is not None:
        normals = VertexFrames(mesh, mesh.vertices, backend="reference").normals_w.detach().cpu()
        pairs, faces = torch.unique(faces * len(normals) + mesh.normal_faces.cpu(), return_inverse=True)
        source = pairs // len(normals)
        columns |= dict(zip(("nx", "ny", "nz"), normals[pairs % len(normals)].float().T.numpy(), strict=True))
    columns = dict(zip("xyz", vertices[source].T.numpy(), strict=True)) | columns
    comment = ""
    corners = {"vertex_indices": faces.numpy().astype("<i4")}
    if isinstance(colors, Texture):
        if mesh.uvs is None or mesh.uv_faces is None:
            raise ShapeError("write_ply: a texture needs a mesh with uvs, but this one has none; write vertex colours")
        # v is counted upwards from the bottom of the picture.
        uvs = mesh.uvs.detach().cpu()[mesh.uv_faces.cpu()] * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
        corners["texcoord"] = uvs.reshape(len(faces), 6).numpy().astype("<f4")
        comment = f"comment TextureFile {path.stem}.png\n"
        write_encoded_png(path.with_suffix(".png"), encode_srgb8(colors.texels))
    elif colors is not None:
        check_type("write_ply", "colors", colors, Tensor, "a torch.Tensor or a Texture")
        colors = colors.expand(mesh.n_vertices, -1) if colors.dim() == 1 else colors
        check_shape("write_ply", "colors", colors, (mesh.n_vertices, 3))
        check_colors("write_ply", "colors", colors)
        check_finite("write_ply", "colors", colors)
        columns |= dict(zip(("red", "green", "blue"), encode_srgb8(colors)[source.numpy()].T, strict=True))
    vertex_rows = np.zeros(len(source), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        vertex_rows[name] = values
    face_rows = np.zeros(
        len(faces), [each for name, v in corners.items() for each in ((f"n_{name}", "u1"), (name, v.dtype, v.shape[1]))]
    )
    for name, values in corners.items():
        face_rows[f"n_{name}"], face_rows[name] = values.shape[1], values
    header = f"ply\nformat binary_little_endian 1.0\ncomment written by diffrender\n{comment}"
    header += f"element vertex {len(source)}\n"
    header += "".join(f"property {NAMES[values.dtype.str]} {name}\n" for name, values in columns.items())
    header += f"element face {len(faces)}\n"
    header += "".join(f"property list uchar {NAMES[values.dtype.str]} {name}\n" for name, values in corners.items())
    write_bytes(path, f"{header}end_header\n".encode() + vertex_rows.tobytes() + face_rows.tobytes())
