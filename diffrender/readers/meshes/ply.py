"""PLY meshes, with the properties that scanners, modellers and data sets write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.clean_mesh import OMITTED_COLORS, RawMesh
from diffrender.readers.images.image import read_image
from diffrender.readers.images.image_data import transparent_pixels
from diffrender.readers.mesh_file import MeshFile, Piece, longest_side
from diffrender.readers.meshes.face_colors import with_face_colors
from diffrender.readers.meshes.mtl import find_file
from diffrender.readers.meshes.ply_format import Element, Lists, PlyContent, read_ply_content
from diffrender.readers.meshes.triangulate import cut_polygons
from diffrender.scene.textures.texture import Texture

POSITION = ("x", "y", "z")
NORMAL = ("nx", "ny", "nz")
COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
TEXTURE_COORDINATES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
CORNER_LISTS = ("vertex_indices", "vertex_index")
TEXTURE_FILE = "TextureFile"
PICTURES = (".png", ".jpg", ".jpeg", ".tga", ".bmp", ".tif", ".tiff", ".webp")
ELEMENTS = ("vertex", "face", "tristrips")
EMPTY = Element(0, {}, {})


def read_ply(path: Path) -> MeshFile:
    """Read a PLY file, ASCII or binary; polygons and strips are cut into triangles.

    Colours of vertices, or else of faces, are taken as sRGB; whole numbers by the range of their type. Texture
    coordinates of corners (`texcoord`) or vertices, v upwards. A part for each picture (`comment TextureFile`) that
    faces choose with `texnumber`. Raises DataError, with the place, for what is damaged or not a mesh.
    """
    content = read_ply_content(path)
    vertex = content.elements.get("vertex", EMPTY)
    face = content.elements.get("face", EMPTY)
    if not all(name in vertex.numbers for name in POSITION):
        raise DataError(
            f"{path}: has no element 'vertex' with x, y and z (its elements: {', '.join(content.elements) or 'none'});"
            " export it again as a mesh"
        )
    positions = _columns(vertex, POSITION)
    polygons = _polygons(path, face, content.elements.get("tristrips", EMPTY))
    if not len(polygons.sizes):
        raise DataError(f"{path}: {_why_no_faces(content, vertex)}")
    triangles, owner = _triangulate(path, polygons, positions)
    mesh = RawMesh(positions, polygons.values[triangles], place_of_vertex=lambda i: f"row {i} of its element 'vertex'")
    mesh = _with_normals(mesh, vertex)
    mesh, of_uvs = _with_uvs(mesh, vertex, face, polygons, triangles)
    mesh, of_colors = _with_colors(mesh, vertex, face, owner)
    of_vertices = {*POSITION, *_first_group(vertex, [NORMAL]), *of_uvs, *_opacity(vertex)}
    of_faces = {*CORNER_LISTS, "texnumber", *of_uvs, *_opacity(face)}
    (of_vertices if _first_group(vertex, COLORS) else of_faces).update(of_colors)
    used = {"vertex": of_vertices, "face": of_faces, "tristrips": {*CORNER_LISTS}}
    thin = int((polygons.sizes < 3).sum())
    notes = (
        *mesh.notes,
        *([f"its {thin} faces with fewer than three corners are skipped"] if thin else []),
        *_notes(content, used),
        *_about_comments(content),
    )
    pictures = _pictures(content)
    numbers = face.numbers.get("texnumber", np.zeros(0)) if "tristrips" not in content.elements else np.zeros(0)
    chosen = numbers[owner].astype(np.int64) if len(numbers) and pictures else np.zeros(len(owner), np.int64)
    if len(pictures) == 1:  # programs number it from 0 or 1; below that is none
        chosen = chosen.clip(-1, 0)
    choices = np.unique(chosen).tolist()

    def read(pieces: Sequence[int]) -> RawMesh:
        kept = np.isin(chosen, [choices[piece] for piece in pieces])
        texture, note, transparent = _texture(path, mesh, pictures, [choices[piece] for piece in pieces])
        omits_colors = texture is not None and mesh.colors is not None and bool((mesh.colors != 1).any())
        return replace(
            mesh,
            faces=mesh.faces[kept],
            uv_faces=None if mesh.uv_faces is None else mesh.uv_faces[kept],
            normal_faces=None if mesh.normal_faces is None else mesh.normal_faces[kept],
            texture=texture,
            texture_note=note,
            transparent=transparent,
            notes=(*notes, *([OMITTED_COLORS] if omits_colors else [])),
        )

    named = [Piece(path.stem, _picture_name(pictures, choice), choice) for choice in choices]
    return MeshFile(path, named, longest_side([positions]), read)


def _columns(element: Element, names: Sequence[str]) -> np.ndarray:
    return np.stack([element.numbers[name].astype(np.float64) for name in names], 1)


def _first_group(element: Element, groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the first group of properties that the element has all of; empty if none."""
    return next((group for group in groups if all(name in element.numbers for name in group)), ())


def _polygons(path: Path, face: Element, strips: Element) -> Lists:
    """Return the corners of all polygons, those of triangle strips included. Corners are not negative."""
    name = next((name for name in CORNER_LISTS if name in face.lists), None)
    if face.count and name is None:
        raise DataError(f"{path}: its faces have no list {CORNER_LISTS[0]}; export it again")
    found = face.lists[name] if name is not None else Lists(np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = Lists(found.values.astype(np.int64), found.sizes)
    name = next((name for name in CORNER_LISTS if name in strips.lists), None)
    if name is None:
        return found
    corners = np.concatenate([_triangles_of_strips(row) for row in _rows(strips.lists[name])] or [np.zeros((0, 3))])
    values = np.concatenate([found.values, corners.reshape(-1).astype(np.int64)])
    return Lists(values, np.concatenate([found.sizes, np.full(len(corners), 3, np.int64)]))


def _rows(lists: Lists) -> list[np.ndarray]:
    return np.split(lists.values, lists.sizes.cumsum()[:-1]) if len(lists.sizes) else []


def _triangles_of_strips(row: np.ndarray) -> np.ndarray:
    """Return the triangles [T, 3] of strips of vertices that are separated by -1."""
    found = [np.zeros((0, 3), np.int64)]
    for strip in np.split(row, np.flatnonzero(row < 0)):
        strip = strip[strip >= 0].astype(np.int64)
        if len(strip) >= 3:
            triangles = np.stack([strip[:-2], strip[1:-1], strip[2:]], 1)
            triangles[1::2] = triangles[1::2, [1, 0, 2]]  # every second one turns the other way
            found.append(triangles)
    return np.concatenate(found)


def _triangulate(path: Path, polygons: Lists, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return triangles [T, 3] as places in `polygons.values`, and the polygon [T] of each."""
    wrong = np.flatnonzero((polygons.values < 0) | (polygons.values >= len(positions)))
    if len(wrong):
        face = int(np.searchsorted(polygons.sizes.cumsum(), wrong[0], side="right"))
        raise DataError(
            f"{path}: row {face} of its element 'face' uses vertex {polygons.values[wrong[0]]}, but there are only"
            f" {len(positions)} (0..{len(positions) - 1}); the file is damaged or cut off"
        )
    return cut_polygons(positions, polygons.values, polygons.sizes)


def _with_normals(mesh: RawMesh, vertex: Element) -> RawMesh:
    if not _first_group(vertex, [NORMAL]):
        return mesh
    return replace(mesh, normals=_columns(vertex, NORMAL), normal_faces=mesh.faces)


def _with_uvs(
    mesh: RawMesh, vertex: Element, face: Element, polygons: Lists, triangles: np.ndarray
) -> tuple[RawMesh, set[str]]:
    """Return the mesh with texture coordinates of its corners, or else vertices, and the properties they are from."""
    corner_uvs = face.lists.get("texcoord")
    if corner_uvs is not None and np.array_equal(corner_uvs.sizes, 2 * polygons.sizes):
        uvs, faces, used = corner_uvs.values.reshape(-1, 2).astype(np.float64), triangles, {"texcoord"}
    else:
        names = _first_group(vertex, TEXTURE_COORDINATES)
        if not names:
            return mesh, set()
        uvs, faces, used = _columns(vertex, names), mesh.faces, set(names)
    return replace(mesh, uvs=np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1), uv_faces=faces), used


def _with_colors(mesh: RawMesh, vertex: Element, face: Element, owner: np.ndarray) -> tuple[RawMesh, set[str]]:
    """Return the mesh with linear colours of its vertices, or else of its faces, and the properties they are from."""
    names = _first_group(vertex, COLORS)
    if names:
        return replace(mesh, colors=_linear(vertex, names)), set(names)
    names = _first_group(face, COLORS)
    if not names or owner.max(initial=0) >= face.count:  # strips have none
        return mesh, set()
    return with_face_colors(mesh, _linear(face, names)[owner]), set(names)


def _linear(element: Element, names: Sequence[str]) -> np.ndarray:
    """Return linear colours [N, 3] of sRGB ones: those of 16 bits in 0..65535, others in 0..255.

    Fractions are in 0..1 unless most colours exceed 2, or one exceeds 1 and all are whole numbers; numbers of 16 bits
    of which none exceeds 255 are in 0..255.
    """
    values = _columns(element, names)
    dtype = element.numbers[names[0]].dtype
    highest = values.max(initial=0)
    if dtype.kind != "f" and dtype.itemsize == 2 and highest > 255:
        values = values / np.iinfo(dtype).max
    elif dtype.kind != "f" or np.median(values.max(1)) > 2 or (highest > 1 and (values == np.round(values)).all()):
        values = values / (127 if dtype == np.int8 else 255)
    return linear_from_srgb(torch.from_numpy(values)).numpy()


def _opacity(vertex: Element) -> set[str]:
    """Return the name of opacities that are all 1, whose loss changes nothing."""
    alpha = vertex.numbers.get("alpha")
    if alpha is None:
        return set()
    return {"alpha"} if (alpha == (1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max)).all() else set()


def _notes(content: PlyContent, used: Mapping[str, set[str]]) -> list[str]:
    """Return notes about what is not read. used: properties that are, by element."""
    notes = []
    for name, element in content.elements.items():
        if name not in ELEMENTS:
            if element.count:
                notes.append(f"its {element.count} rows of {name!r} are not read")
            continue
        unused = [each for each in (*element.numbers, *element.lists) if each not in used[name]]
        if unused and element.count:
            notes.append(f"{', '.join(unused)} of its element {name!r} {'is' if len(unused) == 1 else 'are'} not read")
    if content.rest:
        notes.append(f"{content.rest} bytes after its last element are not read")
    return notes


def _texture(
    path: Path, mesh: RawMesh, pictures: Sequence[str], choices: Sequence[int]
) -> tuple[Texture | None, str | None, Tensor | None]:
    """Return the one picture of the faces that choose `choices`, or None and why; and its transparent texels [H, W]."""
    if not pictures:
        return None, None, None
    if len(choices) == 2 and min(choices) < 0:
        return None, "some of its faces have no texture (texnumber); split it by materials", None
    if len(choices) > 1:
        return None, f"its faces use {len(choices)} different textures, but one is needed; split it by materials", None
    if not 0 <= choices[0] < len(pictures):
        return None, f"its faces use texture {choices[0]} (texnumber) of {len(pictures)}", None
    name = pictures[choices[0]]
    if mesh.uvs is None:
        return None, f"it names the texture {name}, but has no texture coordinates", None
    file = find_file(path.parent, name)
    if file is None:
        return None, f"its texture {name} does not exist; put it beside {path.name}", None
    try:
        image = read_image(file)
    except DataError as error:
        return None, f"its texture is omitted: {error}", None
    return Texture(image.rgb, "repeat"), None, transparent_pixels(image)


def _pictures(content: PlyContent) -> list[str]:
    """Return the pictures that comments name as TextureFile."""
    words = [line.split(None, 1) for line in content.comments]
    return [each[1].strip() for each in words if len(each) > 1 and each[0].lower() == TEXTURE_FILE.lower()]


def _about_comments(content: PlyContent) -> list[str]:
    """Return notes on pictures that comments name otherwise, where none is named as programs agree on."""
    others = [line for line in content.comments if line.strip("\"' ").lower().endswith(PICTURES)]
    if _pictures(content) or not others:
        return []
    return [f"its comment {others[0].strip()!r} is not read: a texture is named by `comment {TEXTURE_FILE} FILE`"]


def _picture_name(pictures: Sequence[str], choice: int) -> str:
    return Path(pictures[choice].replace("\\", "/")).stem if 0 <= choice < len(pictures) else f"texture_{choice}"


def _why_no_faces(content: PlyContent, vertex: Element) -> str:
    if "f_dc_0" in vertex.numbers:
        return f"holds {vertex.count} Gaussian splats and no faces; give a mesh"
    others = [name for name, element in content.elements.items() if name not in ELEMENTS and element.lists]
    if others:
        return f"has no element 'face' with rows, but {', '.join(others)}; export it again"
    if vertex.count:
        return f"is a point cloud: {vertex.count} vertices and no faces; make a surface of it, e.g. in MeshLab"
    return "has no vertices and no faces"
