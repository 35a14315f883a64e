"""Wavefront OBJ: read here, not by a library, to keep texture coordinates apart from vertices and to name lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.clean_mesh import RawMesh
from diffrender.readers.images.image import read_image
from diffrender.scene.textures.texture import Texture


@dataclass
class _Content:
    """What has been read so far; indices count from 0."""

    path: Path
    positions: list[list[float]] = field(default_factory=list)
    position_lines: list[int] = field(default_factory=list)
    colors: list[list[float]] = field(default_factory=list)
    uvs: list[list[float]] = field(default_factory=list)
    faces: list[tuple[int, int, int]] = field(default_factory=list)
    uv_faces: list[tuple[int, int, int]] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    materials: set[str] = field(default_factory=set)


def read_obj(path: Path) -> RawMesh:
    """Read the triangles of an OBJ file; polygons become fans, and all objects and groups one mesh.

    Colours after positions (`v x y z r g b`) are taken as sRGB in 0..1. The texture is the one `map_Kd` of the
    materials that faces use. Raises DataError, with the line, for invalid numbers and indices out of range.
    """
    content = _Content(path)
    for number, line in _logical_lines(path.read_text(encoding="utf-8", errors="replace")):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            _read_line(content, number, words)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; the line is {line.strip()!r}") from None
    texture, note = _texture(content)
    has_uvs = bool(content.faces) and len(content.uv_faces) == len(content.faces)
    if content.uv_faces and not has_uvs:
        texture, note = None, "not all of its faces have texture coordinates"
    return RawMesh(
        positions=np.array(content.positions, dtype=np.float64).reshape(-1, 3),
        faces=np.array(content.faces, dtype=np.int64).reshape(-1, 3),
        uvs=_flip_v(np.array(content.uvs, dtype=np.float64)) if has_uvs else None,
        uv_faces=np.array(content.uv_faces, dtype=np.int64) if has_uvs else None,
        colors=_linear_colors(content),
        texture=texture,
        texture_note=note,
        place_of_vertex=lambda vertex: f"line {content.position_lines[vertex]} (vertex {vertex + 1})",
    )


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Return numbered lines; those that end in a backslash are joined with the next."""
    continued = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.endswith("\\"):
            continued += line[:-1] + " "
        else:
            yield number, continued + line
            continued = ""


def _read_line(content: _Content, number: int, words: list[str]) -> None:
    match words[0]:
        case "v":
            values = _floats(words, 3, "a vertex needs three numbers: v x y z")
            content.positions.append(values[:3])
            content.position_lines.append(number)
            if len(values) >= 6:
                content.colors.append(values[3:6])
        case "vt":
            # A one-dimensional texture coordinate is allowed and means v = 0.
            values = _floats(words, 1, "a texture coordinate needs numbers: vt u v")
            content.uvs.append([*values[:2], 0.0][:2])
        case "f":
            _read_face(content, words[1:])
        case "mtllib":
            content.libraries.append(" ".join(words[1:]))
        case "usemtl":
            content.materials.add(" ".join(words[1:]))


def _read_face(content: _Content, corners: list[str]) -> None:
    if len(corners) < 3:
        raise ValueError(f"a face needs at least three corners, got {len(corners)}")
    fields = [corner.split("/") for corner in corners]
    vertices = [_index(parts[0], len(content.positions), "vertex") for parts in fields]
    content.faces.extend(_fan(vertices))
    if all(len(parts) > 1 and parts[1] for parts in fields):
        content.uv_faces.extend(_fan([_index(parts[1], len(content.uvs), "texture coordinate") for parts in fields]))


def _fan(corners: list[int]) -> list[tuple[int, int, int]]:
    return [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]


def _index(word: str, count: int, what: str) -> int:
    """Return the index from 0 for one of OBJ, which counts from 1 upwards, or from -1 (the last so far) downwards."""
    index = int(word)
    if not 1 <= abs(index) <= count:
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


def _flip_v(uvs: np.ndarray) -> np.ndarray:
    """Return the coordinates with v from the top downwards; OBJ has it from the bottom upwards."""
    return np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1)


def _linear_colors(content: _Content) -> np.ndarray | None:
    if not content.colors or len(content.colors) != len(content.positions):
        return None
    return linear_from_srgb(torch.tensor(content.colors, dtype=torch.float64)).numpy()


def _texture(content: _Content) -> tuple[Texture | None, str | None]:
    """Return the one colour texture of the materials in use, or None and the reason if one is named but unusable."""
    maps = {
        picture
        for library in content.libraries
        for name, picture in _read_materials(content.path.parent / library).items()
        if name in content.materials
    }
    if not maps:
        return None, None
    if len(maps) > 1:
        return None, f"its materials use {len(maps)} different textures, but one is needed; bake them into one"
    name = maps.pop()
    # Some exporters write absolute paths; on another machine the picture is usually beside the mesh.
    for picture in (content.path.parent / name, content.path.parent / Path(name.replace("\\", "/")).name):
        if picture.is_file():
            return Texture(read_image(picture).rgb), None
    return None, f"its texture {name} does not exist; put it beside {content.path.name}"


def _read_materials(path: Path) -> dict[str, str]:
    """Return the colour texture (map_Kd) of each material in an MTL file that has one; none if the file is missing."""
    if not path.is_file():
        return {}
    maps: dict[str, str] = {}
    material = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        if words[0] == "newmtl":
            material = " ".join(words[1:])
        elif words[0].lower() == "map_kd":
            # Options such as `-s 1 1 1` come before the file name; without any, the name may hold spaces.
            maps[material] = words[-1] if words[1].startswith("-") else " ".join(words[1:])
    return maps
