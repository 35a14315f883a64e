"""Meshes from files: OBJ, PLY, GLB, glTF, STL."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.gltf.maps import find_used_materials, finish_of, material_maps, tint_of, wrap_of
from diffrender.readers.images.image import image_from_pillow
from diffrender.readers.meshes.mesh_data import MeshData, RawMesh, clean_mesh
from diffrender.readers.meshes.obj import read_obj
from diffrender.scene.textures.texture import Texture

__all__ = ["MESH_READERS", "MeshData", "read_mesh"]

# Compressions that trimesh does not undo: it gives zeros and a line in a log.
_UNREADABLE_EXTENSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


def read_mesh(path: str | Path) -> MeshData:
    """The triangles, vertex colours and texture of a mesh file, all its objects joined into one mesh.

    Equal positions become one vertex, so that surfaces are closed across texture seams and the flat faces of STL;
    texture coordinates stay per corner (`uv_faces`). Coordinates stay as they are in the file.
    Raises DataError, naming file and place, where it is missing, damaged, compressed, empty or not finite.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_READERS:
        raise DataError(f"{path}: unknown mesh format {suffix or '(no suffix)'}; wanted {', '.join(MESH_READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: does not exist; check the path")
    return clean_mesh(path, MESH_READERS[suffix](path))


def _read_gltf(path: Path) -> RawMesh:
    header = _gltf_header(path)
    declared = [*header.get("extensionsUsed", []), *header.get("extensionsRequired", [])]
    for name in _UNREADABLE_EXTENSIONS:
        if name in declared:
            raise DataError(f"{path}: is compressed with {name}, which is not supported; export it without compression")
    # glTF stores vertex colours in linear light; the other formats as shown on a screen.
    return _read_with_trimesh(path, colors_are_linear=True, header=header)


def _read_ply_or_stl(path: Path) -> RawMesh:
    return _read_with_trimesh(path, colors_are_linear=False)


MESH_READERS: dict[str, Callable[[Path], RawMesh]] = {
    ".obj": read_obj,
    ".ply": _read_ply_or_stl,
    ".glb": _read_gltf,
    ".gltf": _read_gltf,
    ".stl": _read_ply_or_stl,
}


def _gltf_header(path: Path) -> dict[str, Any]:
    """The JSON of a .gltf or .glb file."""
    content = path.read_bytes()
    if content.startswith(b"glTF"):
        if len(content) < 20:
            raise DataError(f"{path}: is cut off after {len(content)} bytes; export it again")
        (length,) = struct.unpack_from("<I", content, 12)
        content = content[20 : 20 + length]
    try:
        header = json.loads(content)
    except ValueError as error:
        raise DataError(f"{path}: its glTF header is not valid JSON ({error}); export it again") from None
    if not isinstance(header, dict):
        raise DataError(f"{path}: its glTF header is a {type(header).__name__}, wanted an object; export it again")
    return header


def _read_with_trimesh(path: Path, colors_are_linear: bool, header: Mapping[str, Any] | None = None) -> RawMesh:
    """header: the document of a glTF file, for what trimesh leaves out of its materials."""
    import trimesh

    try:
        loaded = trimesh.load(path, process=False)
    except Exception as error:  # a third-party parser on a file from anywhere: it may raise anything
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]} ({reason}); export it again") from error
    if isinstance(loaded, trimesh.Scene):
        placed = [(*loaded.graph[node], node) for node in loaded.graph.nodes_geometry]
        parts = [(loaded.geometry[name], np.asarray(matrix)) for matrix, name, _ in placed]
    else:
        parts = [(loaded, np.eye(4))]
    parts = [(part, matrix) for part, matrix in parts if isinstance(part, trimesh.Trimesh)]
    textures = _distinct([_picture(part) for part, _ in parts])
    materials = [getattr(part.visual, "material", None) for part, _ in parts]
    entries, wrap = find_used_materials(header or {}), wrap_of(header or {})
    tint = torch.tensor(tint_of(entries))
    several = f"it uses {len(textures)} different textures, wanted one; bake them into one"
    joined = _join(
        [_raw_part(part, matrix, colors_are_linear) for part, matrix in parts],
        texture=Texture(image_from_pillow(textures[0]).rgb * tint, wrap) if len(textures) == 1 else None,
        texture_note=several if len(textures) > 1 else None,
        maps=material_maps(materials, entries, wrap),
    )
    return replace(joined, finish=finish_of(entries))


def _raw_part(part: Any, matrix: np.ndarray, colors_are_linear: bool) -> RawMesh:
    """One trimesh.Trimesh, moved to its place in the file's scene."""
    vertices, faces = np.asarray(part.vertices, dtype=np.float64), np.asarray(part.faces, dtype=np.int64)
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]  # a mirror image turns every face inside out
    # trimesh counts v upwards from the bottom of the picture whatever the file does.
    uvs = part.visual.uv if part.visual.kind == "texture" else None
    uvs = None if uvs is None or len(uvs) != len(vertices) else np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1)
    return RawMesh(
        # Unmoved where possible: the product would spread one NaN over its whole vertex and hide which it was.
        positions=vertices if np.array_equal(matrix, np.eye(4)) else vertices @ matrix[:3, :3].T + matrix[:3, 3],
        faces=faces,
        uvs=uvs,
        uv_faces=None if uvs is None else faces,
        colors=_part_colors(part, colors_are_linear),
    )


def _part_colors(part: Any, colors_are_linear: bool) -> np.ndarray | None:
    """[P, 3] linear vertex colours of one trimesh.Trimesh, or None."""
    if part.visual.kind == "vertex":
        colors = np.asarray(part.visual.vertex_colors)
    elif part.visual.kind == "texture" and "color" in part.visual.vertex_attributes:
        colors = np.asarray(part.visual.vertex_attributes["color"])
    else:
        return None
    scale = np.iinfo(colors.dtype).max if colors.dtype.kind in "iu" else 1
    values = colors[:, :3].astype(np.float64) / scale
    return values if colors_are_linear else linear_from_srgb(torch.from_numpy(values)).numpy()


def _picture(part: Any) -> Any:
    """The colour texture of one trimesh.Trimesh as a Pillow image, or None."""
    from trimesh.visual.material import PBRMaterial

    if part.visual.kind != "texture" or part.visual.uv is None:
        return None
    material = part.visual.material
    if isinstance(material, PBRMaterial):
        return material.baseColorTexture
    return material.image


def _distinct(pictures: list[Any]) -> list[Any]:
    """The pictures that are there, each once."""
    result: list[Any] = []
    for picture in pictures:
        if picture is not None and not any(picture is seen or picture == seen for seen in result):
            result.append(picture)
    return result


def _join(
    parts: list[RawMesh], texture: Texture | None, texture_note: str | None, maps: Mapping[str, Texture]
) -> RawMesh:
    """Several meshes as one; what only some of them have (uvs, colours) is left out."""
    offsets = np.cumsum([0] + [len(part.positions) for part in parts])[: len(parts)]
    faces = [part.faces + offset for part, offset in zip(parts, offsets, strict=True)]
    uvs = [part.uvs for part in parts if part.uvs is not None]
    colors = [part.colors for part in parts if part.colors is not None]
    all_faces = np.concatenate(faces) if parts else np.zeros((0, 3), np.int64)
    has_uvs = bool(parts) and len(uvs) == len(parts)
    if texture is not None and not has_uvs:
        texture, texture_note = None, "only some of its parts have texture coordinates"
    return RawMesh(
        positions=np.concatenate([part.positions for part in parts]) if parts else np.zeros((0, 3)),
        faces=all_faces,
        uvs=np.concatenate(uvs) if has_uvs else None,
        uv_faces=all_faces if has_uvs else None,
        colors=np.concatenate(colors) if parts and len(colors) == len(parts) else None,
        texture=texture,
        texture_note=texture_note,
        maps=maps if has_uvs else {},
    )
