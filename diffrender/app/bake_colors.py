"""Bake the colours of mesh files from vertices into a texture, or back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from diffrender.app.file_notes import show_notes
from diffrender.errors import DataError
from diffrender.readers.merge_parts import merge_parts
from diffrender.readers.mesh_data import Finish, MeshData, with_mesh
from diffrender.readers.meshes.read_mesh import open_mesh, read_part
from diffrender.readers.part_notes import notes_on_file
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.textures.bake import bake_to_texture, bake_to_vertices, unwrap_mesh
from diffrender.setup.region import Vector
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.meshes.obj import write_obj
from diffrender.writers.meshes.ply import write_ply

WRITTEN = (".glb", ".obj", ".ply")


def bake_file(
    source: Path,
    to: Literal["texture", "vertices"],
    out: Path | None = None,
    resolution: int = 512,
    unwrap: bool = False,
    console: Console | None = None,
) -> Path:
    """Read the mesh `source`, move its colours, write it as .glb, .obj or .ply, and return the path of the new file.

    to: "texture": vertex colours into a square texture with `resolution` texels per side; the mesh is unwrapped if it
        has no texture coordinates or if `unwrap` is true (then all its textures are transferred: colour, roughness,
        metallic, normals, emission). A file of several materials of which one has a texture becomes one mesh with one
        atlas. "vertices": the texture into vertex colours. Uniform properties of a glTF material and its kind (unlit,
        diffuse) stay.
    out: if None: <source's name>_<to>.glb in the folder of the source.
    console: where notes on the source are printed, if anywhere.
    Raises DataError if a file cannot be used or the mesh has no colours to move.
    """
    out = source.with_name(f"{source.stem}_{to}.glb") if out is None else out
    if out.suffix.lower() not in WRITTEN:
        raise DataError(f"{out}: the suffix must be one of {', '.join(WRITTEN)}, got {out.suffix or 'none'}")
    file = open_mesh(source)
    pieces = file.parts("materials")
    parts = {name: read_part(file, own) for name, own in pieces.items()}
    is_atlas = len(parts) > 1 and any(part.texture is not None for part in parts.values())
    if not is_atlas:
        pieces = {source.stem: list(range(len(file.pieces)))}
        parts = {source.stem: read_part(file, pieces[source.stem])}
    origin = _origin(parts.values())
    if origin is not None:
        parts = {name: read_part(file, own, origin) for name, own in pieces.items()}
    data = merge_parts(list(parts.values()), resolution) if is_atlas else parts[source.stem]
    if to == "vertices":
        mesh, surface = _bake_to_vertices(source, data)
    else:
        mesh, surface = _with_surface(data) if is_atlas else _bake_to_texture(source, data, resolution, unwrap)
    if origin is not None:
        mesh = replace(mesh, vertices=mesh.vertices.double() + mesh.vertices.new_tensor(origin, dtype=torch.float64))
    suffix = out.suffix.lower()
    if suffix == ".glb":
        write_glb(out, [GlbObject(source.stem, mesh, surface.base_color, surface=surface)])
    elif suffix == ".obj":
        write_obj(out, mesh, surface=surface)
    else:
        write_ply(out, mesh, surface.base_color)
    if console is not None:
        notes = notes_on_file(source, {name: part.all_notes for name, part in parts.items()})
        show_notes([*notes, *_lost(data, out, to)], console)
    return out


def _origin(parts: Iterable[MeshData]) -> Vector | None:
    """Return the middle of the first mesh that float32 does not resolve where it is: textures are baked near it."""
    for part in parts:
        if part.mesh.vertices.dtype == torch.float64:
            x, y, z = part.mesh.bounds().mean(0).tolist()
            return x, y, z
    return None


def _lost(data: MeshData, out: Path, to: str) -> list[str]:
    """Return notes on what of a surface, besides its colour, the new file does not hold."""
    is_ply = out.suffix.lower() == ".ply"
    lost = [name.replace("_", " and ") for name in sorted(data.maps)] if is_ply or to == "vertices" else []
    notes = (
        [f"{out.name}: holds no textures of {', '.join(lost)}; bake to a texture in a GLB to keep them"] if lost else []
    )
    if is_ply and data.finish != Finish():
        notes.append(f"{out.name}: PLY holds colours only, not how the material reflects or glows; GLB does")
    return notes


def _bake_to_vertices(source: Path, data: MeshData) -> tuple[Mesh, GltfSurface]:
    if data.texture is None:
        raise DataError(f"{source}: {data.texture_note or 'has no texture'}; there is nothing to bake into vertices")
    mesh = replace(data.mesh, uvs=None, uv_faces=None)
    return mesh, _surface(bake_to_vertices(data.mesh, data.texture), data.finish)


def _bake_to_texture(source: Path, data: MeshData, resolution: int, unwrap: bool) -> tuple[Mesh, GltfSurface]:
    if data.texture is None and data.vertex_colors is None:
        note = data.texture_note or "has neither vertex colours nor a texture"
        raise DataError(f"{source}: {note}; there is nothing to bake into a texture")
    if data.texture is not None and not unwrap:
        raise DataError(f"{source}: already has a texture; --unwrap makes new texture coordinates and transfers it")
    mesh = unwrap_mesh(data.mesh, resolution) if unwrap or data.mesh.uvs is None else data.mesh
    if data.texture is None:
        assert data.vertex_colors is not None
        return mesh, _surface(bake_to_texture(mesh, data.vertex_colors, resolution), data.finish)
    return _with_surface(with_mesh(data, mesh, resolution))


def _with_surface(data: MeshData) -> tuple[Mesh, GltfSurface]:
    """Return the mesh of `data` and its textures as a glTF material."""
    assert data.texture is not None
    surface = _surface(data.texture, data.finish)
    surface = replace(surface, normal=data.maps.get("normal"), emissive=data.maps.get("emissive", surface.emissive))
    both = data.maps.get("metallic_roughness")
    if both is None:
        return data.mesh, surface
    roughness, metallic = (replace(both, texels=both.texels[:, :, i : i + 1]) for i in (1, 2))
    return data.mesh, replace(surface, roughness=roughness, metallic=metallic)


def _surface(color: SurfaceValue, finish: Finish) -> GltfSurface:
    return GltfSurface(
        color,
        metallic=torch.tensor([finish.metallic]),
        roughness=torch.tensor([finish.roughness]),
        emissive=None if finish.emissive is None else torch.tensor(finish.emissive),
        specular=finish.specular,
        unlit=finish.unlit,
    )
