"""STL meshes, ASCII and binary, with the two ways to write colours of facets."""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.clean_mesh import RawMesh
from diffrender.readers.mesh_file import MeshFile, Piece, longest_side
from diffrender.readers.meshes.face_colors import with_face_colors

HEADER = 80
# Written by programs that do not know the number of triangles when they begin, as is 0.
UNKNOWN = 2**32 - 1
FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
# Materialise Magics: a colour of the whole in the header; facets that have one of their own do not have the flag.
MAGICS = b"COLOR="
FLAG = 0x8000
VERTEX = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)
FACET_START = re.compile(rb"\bfacet\s+normal\b[ \t]*(\S*)[ \t]*(\S*)[ \t]*(\S*)", re.IGNORECASE)
# Cosine; normals of slivers are rounded.
OPPOSED = 0.5


def read_stl(path: Path) -> MeshFile:
    """Read an STL file, several solids as one mesh; colours of facets (Magics, VisCAM) are taken as sRGB.

    Normals of facets are not used, but told if they oppose those of the triangles. Raises DataError if the file is
    damaged or cut off.
    """
    data = path.read_bytes()
    text = data.removeprefix(BOM_UTF8)
    n_facets = int.from_bytes(data[HEADER : HEADER + 4], "little")
    wanted = HEADER + 4 + n_facets * FACET.itemsize
    # Texts have no zero bytes; the header of a binary file may begin as they do.
    is_text = text.lstrip()[:5].lower() == b"solid" and b"\0" not in text[: HEADER + 4 + FACET.itemsize]
    if len(data) >= HEADER + 4 and (len(data) == wanted or not is_text):
        mesh = _read_binary(path, data, n_facets, wanted)
    elif is_text:
        mesh = _read_ascii(path, text)
    else:
        raise DataError(f"{path}: is not an STL file: it is {len(data)} bytes long and does not start with 'solid'")
    return MeshFile(path, [Piece(path.stem, "material", None)], longest_side([mesh.positions]), lambda _: mesh)


def _read_binary(path: Path, data: bytes, n_facets: int, wanted: int) -> RawMesh:
    n_whole, n_more = divmod(len(data) - HEADER - 4, FACET.itemsize)
    notes: tuple[str, ...] = ()
    if not n_more and n_whole and n_facets in (0, UNKNOWN):
        notes = (f"its header states {n_facets} triangles, but its length is that of {n_whole}, which are read",)
        n_facets = n_whole
    elif len(data) > wanted and n_facets:
        notes = (f"{len(data) - wanted} bytes after its last triangle are not read",)
    elif len(data) != wanted:
        raise DataError(
            f"{path}: holds {n_whole} triangles and {n_more} bytes, but its header states {n_facets} triangles; it is"
            " cut off, or is not STL"
        )
    facets = np.frombuffer(data, FACET, n_facets, HEADER + 4)
    mesh = _loose_triangles(facets["corners"].astype(np.float64))
    about_normals = _about_normals(facets["corners"].astype(np.float64), facets["normal"].astype(np.float64))
    mesh = replace(mesh, notes=(*notes, *about_normals))
    header, attribute = data[:HEADER], facets["attribute"].astype(np.int64)
    levels = np.stack([attribute & 31, attribute >> 5 & 31, attribute >> 10 & 31], 1) / 31
    own = (attribute & FLAG) != 0
    if MAGICS in header:
        start = header.index(MAGICS) + len(MAGICS)
        whole = np.frombuffer(header[start : start + 3].ljust(3, b"\xff"), np.uint8) / 255
        # Without any colour of a facet, all zeros are no black.
        is_plain = own | (not attribute.any())
        return with_face_colors(mesh, _linear(np.where(is_plain[:, None], whole, levels)))
    if own.any():  # VisCAM and SolidView: blue in the lowest bits
        return with_face_colors(mesh, _linear(np.where(own[:, None], levels[:, ::-1], 1.0)))
    return mesh


def _read_ascii(path: Path, data: bytes) -> RawMesh:
    words = VERTEX.findall(data)
    n_facets = len(FACET_START.findall(data))
    if len(words) != 3 * n_facets or b"endsolid" not in data[-1000:].lower():
        raise DataError(
            f"{path}: has {n_facets} facets and {len(words)} valid vertices, not three for each, or does not end in"
            " 'endsolid'; the file is damaged or cut off"
        )
    try:
        values = np.array([[float(word) for word in row] for row in words]).reshape(-1, 3, 3)
    except ValueError as error:
        raise DataError(f"{path}: {error}; a vertex must be three numbers; export it again") from None
    stated = [_floats(words) for words in FACET_START.findall(data)]
    return replace(_loose_triangles(values), notes=_about_normals(values, np.array(stated).reshape(-1, 3)))


def _floats(words: Sequence[bytes]) -> list[float]:
    """Return numbers; NaN for what is none, of a normal that is not used."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return [math.nan] * len(words)


def _about_normals(corners: np.ndarray, stated: np.ndarray) -> tuple[str, ...]:
    """Return a note if stated normals [F, 3] oppose those of triangles [F, 3, 3]."""
    with np.errstate(all="ignore"):
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(stated, axis=1)
        n_opposed = int(((normals * stated).sum(1) < -OPPOSED * lengths).sum())
    if not n_opposed:
        return ()
    return (f"the normals of {n_opposed} of its {len(corners)} facets oppose the order of their corners, which counts",)


def _loose_triangles(corners: np.ndarray) -> RawMesh:
    return RawMesh(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3))


def _linear(colors: np.ndarray) -> np.ndarray:
    return linear_from_srgb(torch.from_numpy(colors)).numpy()
