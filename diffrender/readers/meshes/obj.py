"""Wavefront OBJ: read here, not by a library, to keep texture coordinates apart from vertices and to name lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.clean_mesh import RawMesh
from diffrender.readers.mesh_file import MeshFile, Piece, longest_side
from diffrender.readers.meshes.mtl import MtlMaterial, Picture
from diffrender.readers.meshes.obj_materials import about_factors, read_materials, read_texture, shared_finish
from diffrender.readers.meshes.smoothing import smooth_by_groups
from diffrender.readers.meshes.text_file import read_text
from diffrender.readers.meshes.triangulate import cut_polygons

# Their arguments are names, which may hold spaces and "#".
NAMES = ("mtllib", "usemtl", "o", "g")
# Of curves and surfaces, which are told, and of display: they change nothing of the faces.
SILENT = {
    *("vp", "cstype", "deg", "bmat", "step", "parm", "trim", "hole", "scrv", "sp", "end", "con", "mg"),
    *("bevel", "c_interp", "d_interp", "lod", "ctech", "stech", "shadow_obj", "trace_obj"),
}
# Longer words are damage, and no keywords to tell.
LONGEST_KEYWORD = 20
# Of keywords; more are no OBJ.
MOST_TOLD = 10
# What a corner of a face is made of.
KINDS = ("vertex", "texture coordinate", "normal")
# Larger ones are damage.
MOST_INDEX = 2**62
# Comments of ZBrush: for each vertex the bytes of a mask, of red, green and blue.
PAINTED = "#MRGB"


@dataclass
class _Content:
    """What has been read so far; indices count from 0.

    colors: of the positions that have one. painted: those of all positions in comments of ZBrush. polygons: corners as
    (position, texture coordinate, normal), -1 for none. polygon_lines: where they are. polygon_objects,
    polygon_materials, polygon_smoothing: what `o` (or else `g`), `usemtl` and `s` said last before each.
    skipped: keywords of lines that are not read.
    """

    path: Path
    positions: list[list[float]] = field(default_factory=list)
    position_lines: list[int] = field(default_factory=list)
    colors: dict[int, list[float]] = field(default_factory=dict)
    painted: str = ""
    uvs: list[list[float]] = field(default_factory=list)
    normals: list[list[float]] = field(default_factory=list)
    polygons: list[list[tuple[int, int, int]]] = field(default_factory=list)
    polygon_lines: list[int] = field(default_factory=list)
    polygon_objects: list[str] = field(default_factory=list)
    polygon_materials: list[str] = field(default_factory=list)
    polygon_smoothing: list[str | None] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    object: str = ""
    group: str = ""
    material: str = ""
    smoothing: str | None = None
    skipped: set[str] = field(default_factory=set)


def read_obj(path: Path) -> MeshFile:
    """Read an OBJ file; polygons are cut into triangles without overlaps.

    Colours after positions (`v x y z r g b`) are taken as sRGB in 0..1, or 0..255 if all are whole numbers; else those
    that ZBrush writes into comments. Of the
    materials that the faces of a part use: the one picture (`map_Kd`), or the colours (`Kd`), and roughness, metallic
    and emission if all agree; faces before the first `usemtl` use a library's only material. Raises DataError, with the
    line, for invalid numbers and wrong indices.
    """
    content = _Content(path)
    for number, line in _logical_lines(read_text(path)):
        words = line.split(None, 1)
        if words and words[0] == PAINTED:
            content.painted += words[-1].strip()
        if not words or words[0].startswith("#"):
            continue
        words = [words[0], *words[1:]] if words[0] in NAMES else line.partition("#")[0].split()
        try:
            _read_line(content, number, words)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; the line is {line.strip()!r}") from None

    positions = np.array(content.positions, dtype=np.float64).reshape(-1, 3)
    corners, owner = _triangulate(content, positions)
    about_colors = [*_read_painted(content), *_normalize_colors(content)]
    materials, notes = read_materials(path, content.libraries, content.polygon_materials)
    notes += [*_about_skipped(content), *about_colors]
    normals = np.array(content.normals, dtype=np.float64).reshape(-1, 3)
    corners, normals, about_normals = smooth_by_groups(positions, corners, owner, normals, content.polygon_smoothing)
    notes += about_normals
    labels = list(zip(content.polygon_objects, content.polygon_materials, strict=True))
    pieces = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    piece_of = np.array([pieces[label] for label in labels], dtype=np.int64)[owner]

    def read(numbers: Sequence[int]) -> RawMesh:
        kept = np.isin(piece_of, np.array(numbers, dtype=np.int64))
        return _raw_mesh(content, positions, normals, corners[kept], owner[kept], materials, notes)

    named = [Piece(name, of or "material", materials[of]) for name, of in pieces]
    return MeshFile(path, named, longest_side([positions[corners[:, :, 0].reshape(-1)]]), read)


def _raw_mesh(
    content: _Content,
    positions: np.ndarray,
    normals: np.ndarray,
    corners: np.ndarray,
    owner: np.ndarray,
    materials: dict[str, MtlMaterial],
    notes: Sequence[str],
) -> RawMesh:
    """Return triangles with `corners` [F, 3, 3] of the polygons `owner` [F]."""
    names = [content.polygon_materials[i] for i in np.unique(owner)]
    used = [materials[name] for name in dict.fromkeys(names)]
    has_uvs = len(corners) > 0 and bool((corners[:, :, 1] >= 0).all())
    has_normals = bool((corners[:, :, 2] >= 0).any())
    texture, note, picture, transparent = read_texture(content.path, used)
    if not has_uvs and (texture is not None or (corners[:, :, 1] >= 0).any()):
        texture, note, transparent = None, "not all of its faces have texture coordinates", None
    colors, more = _colors(content, corners, owner, materials, texture is None)
    finish, about_finish = shared_finish(used)
    if texture is not None:
        more += about_factors(used, colors)
    return RawMesh(
        positions=positions,
        faces=corners[:, :, 0],
        uvs=_flip_v(_placed(np.array(content.uvs, dtype=np.float64), picture)) if has_uvs else None,
        uv_faces=corners[:, :, 1] if has_uvs else None,
        colors=colors,
        texture=texture,
        texture_note=note,
        place_of_vertex=lambda vertex: f"line {content.position_lines[vertex]} (vertex {vertex + 1})",
        finish=finish,
        notes=(*notes, *more, *about_finish),
        normals=normals if has_normals else None,
        normal_faces=corners[:, :, 2] if has_normals else None,
        transparent=transparent,
    )


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Return numbered lines; those that end in a backslash are joined with the next, but for comments, as of a path."""
    continued = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.rstrip().endswith("\\") and not (continued + line).lstrip().startswith("#"):
            continued += line.rstrip()[:-1] + " "
        else:
            yield number, continued + line
            continued = ""


def _read_line(content: _Content, number: int, words: list[str]) -> None:
    rest = words[1].strip() if len(words) > 1 else ""
    match words[0]:
        case "v":
            values = _floats(words, 3, "a vertex needs three numbers: v x y z")
            if len(values) >= 6:
                content.colors[len(content.positions)] = values[3:6]
            content.positions.append(values[:3])
            content.position_lines.append(number)
        case "vt":
            # A one-dimensional texture coordinate is allowed and means v = 0.
            values = _floats(words, 1, "a texture coordinate needs numbers: vt u v")
            content.uvs.append([*values[:2], 0.0][:2])
        case "vn":
            content.normals.append(_floats(words, 3, "a normal needs three numbers: vn x y z")[:3])
        case "f" | "fo":  # a face with its outline, of old files
            _read_face(content, number, words[1:])
        case "mtllib":
            content.libraries.append(rest)
        case "usemtl":
            content.material = rest
        case "o":
            content.object = rest
        case "g":
            content.group = rest
        case "s":
            content.smoothing = rest
        case keyword if keyword not in SILENT and len(keyword) <= LONGEST_KEYWORD:
            content.skipped.add(keyword)


def _read_face(content: _Content, number: int, corners: list[str]) -> None:
    if len(corners) < 3:
        raise ValueError(f"a face needs at least three corners, got {len(corners)}")
    fields = [corner.split("/") for corner in corners]
    vertices = [_index(parts[0], len(content.positions), KINDS[0]) for parts in fields]
    uvs = [-1] * len(fields)
    if all(len(parts) > 1 and parts[1] for parts in fields):
        uvs = [_index(parts[1], len(content.uvs), KINDS[1]) for parts in fields]
    normals = [
        _index(parts[2], len(content.normals), KINDS[2]) if len(parts) > 2 and parts[2] else -1 for parts in fields
    ]
    content.polygons.append(list(zip(vertices, uvs, normals, strict=True)))
    content.polygon_lines.append(number)
    content.polygon_objects.append(content.object or content.group or "object")
    content.polygon_materials.append(content.material)
    content.polygon_smoothing.append(content.smoothing)


def _triangulate(content: _Content, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners [F, 3, 3] of triangles (position, texture coordinate, normal), and the polygon [F] of each."""
    corners = np.array([corner for polygon in content.polygons for corner in polygon], dtype=np.int64).reshape(-1, 3)
    sizes = np.array([len(polygon) for polygon in content.polygons], dtype=np.int64)
    counts = [len(content.positions), len(content.uvs), len(content.normals)]
    wrong = np.argwhere(corners >= counts)
    if len(wrong):
        corner, column = wrong[0].tolist()
        line = content.polygon_lines[int(np.searchsorted(sizes.cumsum(), corner, side="right"))]
        raise DataError(
            f"{content.path}, line {line}: a face uses {KINDS[column]} {corners[corner, column] + 1}, but the file has"
            f" {counts[column]} (counted from 1)"
        )
    triangles, owner = cut_polygons(positions, corners[:, 0], sizes)
    return corners[triangles], owner


def _index(word: str, count: int, what: str) -> int:
    """Return the index from 0 for one of OBJ, which counts from 1 upwards, or from -1 (the last so far) downwards.

    What counts from 1 may follow later.
    """
    try:
        index = int(word)
    except ValueError:
        raise ValueError(f"a face's indices must be whole numbers, got {word!r}") from None
    if index == 0 or not -count <= index <= MOST_INDEX:
        raise ValueError(f"a face uses {what} {index}, but the file has {count} up to here (counted from 1)")
    return index - 1 if index > 0 else count + index


def _floats(words: list[str], least: int, rule: str) -> list[float]:
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError(rule) from None
    if len(values) < least:
        raise ValueError(rule)
    return values


def _about_skipped(content: _Content) -> list[str]:
    skipped = sorted(content.skipped)
    return [f"elements other than faces are skipped: {', '.join(skipped[:MOST_TOLD])}"] if skipped else []


def _flip_v(uvs: np.ndarray) -> np.ndarray:
    """Return the coordinates with v from the top downwards; OBJ has it from the bottom upwards."""
    return np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1)


def _placed(uvs: np.ndarray, picture: Picture | None) -> np.ndarray:
    return uvs if picture is None else uvs * np.array(picture.scale) + np.array(picture.offset)


def _normalize_colors(content: _Content) -> list[str]:
    """Divide colours in 0..255 by 255, clamp others to 0..1, and return notes on it."""
    values = np.array(list(content.colors.values())).reshape(-1, 3)
    is_outside = ((values < 0) | (values > 1)).any(1)
    if not is_outside.any():
        return []
    if values.min() >= 0 and values.max() <= 255 and (values == np.round(values)).all():
        values, note = values / 255, "its vertex colours are whole numbers up to 255 and are divided by that"
    else:
        note = f"{is_outside.sum()} of its {len(values)} vertex colours are outside 0..1 and are clamped"
        values = values.clip(0, 1)
    content.colors = dict(zip(content.colors, values.tolist(), strict=True))
    return [note]


def _read_painted(content: _Content) -> list[str]:
    """Give the positions their painted colours, if they have no others, and return a note if that fails."""
    if not content.painted or content.colors:
        return []
    try:
        values = np.frombuffer(bytes.fromhex(content.painted), np.uint8).reshape(-1, 4)[:, 1:] / 255
    except ValueError:
        return [f"its colours in comments ({PAINTED}) are damaged and not read"]
    if len(values) != len(content.positions):
        return [f"its {len(values)} colours in comments ({PAINTED}) do not fit its {len(content.positions)} vertices"]
    content.colors = dict(enumerate(values.tolist()))
    return []


def _colors(
    content: _Content, corners: np.ndarray, owner: np.ndarray, materials: dict[str, MtlMaterial], use_kd: bool
) -> tuple[np.ndarray | None, list[str]]:
    """Return linear colours [P, 3]: those of the positions, and else of the materials, if either has any; and notes."""
    names = [content.polygon_materials[polygon] for polygon in owner]
    own = {name: materials[name].color for name in names if use_kd and materials[name].color is not None}
    n_positions = len(content.positions)
    used = np.unique(corners[:, :, 0])
    colored = [int(vertex) for vertex in used if vertex in content.colors]
    if not colored and not own:
        return None, []
    white = (1.0, 1.0, 1.0)
    of_face = np.array([own.get(name, white) for name in names]).reshape(-1, 3)
    colors = np.ones((n_positions, 3))
    count = np.zeros(n_positions)
    np.add.at(count, corners[:, :, 0].reshape(-1), 1)
    sums = np.zeros((n_positions, 3))
    np.add.at(sums, corners[:, :, 0].reshape(-1), of_face.repeat(3, 0))
    colors[count > 0] = sums[count > 0] / count[count > 0, None]
    if colored:
        values = torch.tensor([content.colors[vertex] for vertex in colored], dtype=torch.float64)
        colors[colored] = linear_from_srgb(values).numpy()
    notes = []
    if 0 < len(colored) < len(used):
        without = "the colour of their material" if own else "white"
        notes.append(f"{len(used) - len(colored)} of {len(used)} vertices have no colour; they are {without}")
    if len(set(own.values())) > 1 and not colored:
        notes.append("its materials have different colours, which blend where their faces share vertices")
    return colors, notes
