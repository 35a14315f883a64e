"""Mesh files whose colours move from vertices into a texture, or back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.meshes import MeshData, read_mesh
from diffrender.scene.baking import bake_to_texture, bake_to_vertices, carry_texture, unwrapped
from diffrender.scene.mesh import Mesh
from diffrender.scene.texture import Texture
from diffrender.writers.glb import GlbObject, write_glb
from diffrender.writers.obj import write_obj

WRITTEN = (".glb", ".obj")


def bake_file(
    source: Path,
    to: Literal["texture", "vertices"],
    out: Path | None = None,
    resolution: int = 512,
    unwrap: bool = False,
) -> Path:
    """Reads the mesh `source`, moves its colours, writes it as .glb or .obj, and says where.

    to: "texture": vertex colours into a square texture of `resolution` texels a side; the mesh is unwrapped where it
        has no texture coordinates, or where `unwrap` asks for new ones (a texture is carried along then). "vertices":
        the texture into vertex colours.
    out: left out: <source's name>_<to>.glb beside the source.
    Raises DataError where a file is wrong, or the mesh has no colours to move.
    """
    out = source.with_name(f"{source.stem}_{to}.glb") if out is None else out
    if out.suffix.lower() not in WRITTEN:
        raise DataError(f"{out}: can be written as {' or '.join(WRITTEN)} only, not {out.suffix or 'without suffix'}")
    data = read_mesh(source)
    mesh, color = _to_vertices(source, data) if to == "vertices" else _to_texture(source, data, resolution, unwrap)
    if out.suffix.lower() == ".glb":
        write_glb(out, [GlbObject(source.stem, mesh, color)])
    elif isinstance(color, Texture):
        write_obj(out, mesh, texture=color)
    else:
        write_obj(out, mesh, color)
    return out


def _to_vertices(source: Path, data: MeshData) -> tuple[Mesh, Tensor]:
    if data.texture is None:
        raise DataError(f"{source}: {data.texture_note or 'has no texture'}; so there is nothing to bake into vertices")
    return replace(data.mesh, uvs=None, uv_faces=None), bake_to_vertices(data.mesh, data.texture)


def _to_texture(source: Path, data: MeshData, resolution: int, unwrap: bool) -> tuple[Mesh, Texture]:
    if data.texture is None and data.vertex_colors is None:
        note = data.texture_note or "has neither vertex colours nor a texture"
        raise DataError(f"{source}: {note}; so there is nothing to bake into a texture")
    if data.texture is not None and not unwrap:
        raise DataError(f"{source}: has a texture already; --unwrap makes new texture coordinates and carries it there")
    mesh = unwrapped(data.mesh, resolution) if unwrap or data.mesh.uvs is None else data.mesh
    if data.texture is not None:
        return mesh, carry_texture(data.texture, data.mesh, mesh, resolution)
    assert data.vertex_colors is not None
    return mesh, bake_to_texture(mesh, data.vertex_colors, resolution)
