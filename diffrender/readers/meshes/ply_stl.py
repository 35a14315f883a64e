"""PLY and STL, by trimesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.clean_mesh import RawMesh, join
from diffrender.readers.images.image import image_from_pillow
from diffrender.readers.mesh_file import MeshFile, Piece, longest_side
from diffrender.scene.textures.texture import Texture


def read_ply_or_stl(path: Path) -> MeshFile:
    """Read the triangles of a PLY or STL file, several solids as one mesh.

    Vertex colours are taken as sRGB. Raises DataError if the file cannot be read.
    """
    import trimesh

    try:
        loaded = trimesh.load(path, process=False)
    except Exception as error:  # a third-party parser on a file from anywhere: it may raise anything
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]} ({reason}); export it again") from error
    solids = loaded.geometry.values() if isinstance(loaded, trimesh.Scene) else [loaded]
    parts = [_raw_mesh(solid, path.suffix.lower() == ".ply") for solid in solids if isinstance(solid, trimesh.Trimesh)]
    mesh = parts[0] if len(parts) == 1 else join(parts)
    return MeshFile(path, [Piece(path.stem, "material", None)], longest_side([mesh.positions]), lambda _: mesh)


def _raw_mesh(solid: Any, is_ply: bool) -> RawMesh:
    """Return the arrays of one trimesh.Trimesh."""
    faces = np.asarray(solid.faces, dtype=np.int64)
    mesh = RawMesh(np.asarray(solid.vertices, dtype=np.float64), faces)
    if is_ply and "vertex_normals" in solid._cache.cache:  # as the file has them; asked for, trimesh computes its own
        normals = np.asarray(solid._cache.cache["vertex_normals"], dtype=np.float64)
        mesh = replace(mesh, normals=normals, normal_faces=faces)
    if solid.visual.kind == "vertex":
        values = np.asarray(solid.visual.vertex_colors)[:, :3].astype(np.float64) / 255
        return replace(mesh, colors=linear_from_srgb(torch.from_numpy(values)).numpy())
    if solid.visual.kind == "texture" and solid.visual.uv is not None:
        # trimesh counts v upwards from the bottom of the picture.
        uvs = np.stack([solid.visual.uv[:, 0], 1 - solid.visual.uv[:, 1]], 1)
        picture = solid.visual.material.image
        texture = None if picture is None else Texture(image_from_pillow(picture).rgb)
        return replace(mesh, uvs=uvs, uv_faces=faces, texture=texture)
    return mesh
