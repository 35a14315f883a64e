"""Meshes from files: OBJ, PLY, GLB, glTF, STL."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from diffrender.checks import as_path, as_point
from diffrender.errors import DataError, ShapeError
from diffrender.readers.clean_mesh import clean_mesh
from diffrender.readers.gltf.mesh import read_gltf_mesh
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.mesh_file import MeshFile, Split
from diffrender.readers.meshes.obj import read_obj
from diffrender.readers.meshes.ply import read_ply
from diffrender.readers.meshes.stl import read_stl
from diffrender.readers.stand_ins import HEAD, stand_in

MESH_READERS: dict[str, Callable[[Path], MeshFile]] = {
    ".obj": read_obj,
    ".ply": read_ply,
    ".glb": read_gltf_mesh,
    ".gltf": read_gltf_mesh,
    ".stl": read_stl,
}
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zX": "xz", b"PK\x03\x04": "zip"}


def read_mesh(path: str | Path, origin: Sequence[float] = (0.0, 0.0, 0.0)) -> MeshData:
    """Read the triangles, vertex colours and textures of a mesh file as one mesh.

    path: an .obj, .ply, .stl, .glb or .gltf file. Its objects, groups and nodes are joined, nodes of glTF in world
        space; polygons become triangles. Units and axes are those of the file.
    origin: subtracted from all positions, in float64. What is still so far away that float32 does not hold it stays
        float64, with a note.

    Returns MeshData: `mesh` with vertices [V, 3] and faces [F, 3], and what the file says of its surface:
    `vertex_colors` [V, 3] and `texture` in linear RGB, further maps and uniform values. Equal positions become one
    vertex, so that surfaces are closed across texture seams and between the loose triangles of STL; texture
    coordinates stay per corner (`mesh.uv_faces`). A texture that is named but cannot be used is not an error:
    `texture_note` says why.

    Raises DataError, with the file and the place in it, if it is missing, damaged, compressed, empty or has a number
    that is not finite; ShapeError for an argument of another type.

        data = read_mesh("spot.obj")
        scene = Scene({"spot": Object(data.mesh, Lambert(data.texture))}, {"sky": Ambient()})
    """
    point = as_point("read_mesh", "origin", origin)
    file = open_mesh(as_path("read_mesh", "path", path))
    return clean_mesh(file.path, file.read_all(), point)


def read_mesh_parts(
    path: str | Path, split: Split = "materials", origin: Sequence[float] = (0.0, 0.0, 0.0)
) -> dict[str, MeshData]:
    """Read a mesh file as several meshes, each with its own material, by their names.

    split: "materials": one for each material that looks different, as `mesh: FILE` of a scene file has it; "objects":
        one for each object (glTF node, `o` or `g` of OBJ) and such material. Other formats have one part.

    The names are those of the file without spaces and dots. Everything else is as in `read_mesh`.

        parts = read_mesh_parts("car.glb")
        scene = Scene({name: Object(part.mesh, Lambert(part.texture)) for name, part in parts.items()}, lights)
    """
    if split not in get_args(Split):
        raise ShapeError(f"read_mesh_parts: split must be {' or '.join(map(repr, get_args(Split)))}, got {split!r}")
    point = as_point("read_mesh_parts", "origin", origin)
    file = open_mesh(as_path("read_mesh_parts", "path", path))
    return {name: read_part(file, pieces, point) for name, pieces in file.parts(split).items()}


def read_part(file: MeshFile, pieces: Sequence[int], origin: Sequence[float] = (0.0, 0.0, 0.0)) -> MeshData:
    """Read some pieces of an opened file as one mesh."""
    return clean_mesh(file.path, file.read(pieces), origin, file.size if len(file.pieces) > 1 else None)


def open_mesh(path: str | Path) -> MeshFile:
    """Read a mesh file up to its pieces. Raises DataError as `read_mesh` does."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_READERS:
        raise DataError(
            f"{path}: unknown mesh format {suffix or '(no suffix)'}; it must be one of {', '.join(MESH_READERS)}"
        )
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder, not a mesh file; give a file in it")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if instead := stand_in(head):
        raise DataError(f"{path}: {instead}")
    for signature, program in PACKED.items():
        if head.startswith(signature):
            raise DataError(f"{path}: is compressed with {program}; unpack it first")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later, with its place
        return MESH_READERS[suffix](path)
