"""glTF files as one mesh: the triangles of all nodes in world space, and what their materials have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diffrender.errors import DataError
from diffrender.readers.clean_mesh import RawMesh, join
from diffrender.readers.gltf.document import GltfDocument, read_document, valid_gltf
from diffrender.readers.gltf.factors import (
    Factors,
    base_color_factor,
    emissive_factor,
    is_unlit,
    metallic_factor,
    metallic_roughness,
    reflects,
    roughness_factor,
)
from diffrender.readers.gltf.nodes import place_nodes
from diffrender.readers.gltf.primitives import read_triangles, transform
from diffrender.readers.gltf.textures import CLAMP_TO_EDGE, TEXTURES, has_own_coordinates, wrap_codes
from diffrender.readers.mesh_data import Finish
from diffrender.scene.textures.texture import Texture

MAPS = ("metallic_roughness", "normal", "emissive")

Entry = Mapping[str, Any]


def read_gltf_mesh(path: Path) -> RawMesh:
    """Read all triangles of a .glb or .gltf file as one mesh; points and lines are skipped.

    Vertex colours are linear in glTF, and multiplied by the base colour's factor.
    Raises DataError if the file is missing, damaged or compressed.
    """
    document = read_document(path)
    parts: list[RawMesh] = []
    entries: list[Entry] = []
    with valid_gltf(path):
        for node, world in place_nodes(document):
            mesh = document.entries("meshes")[node["mesh"]] if "mesh" in node else {"primitives": []}
            for primitive in mesh["primitives"]:
                part = read_triangles(document, primitive)
                if part is not None:
                    entry = document.material(primitive)
                    parts.append(_tint(transform(part, world), entry))
                    entries.append(entry)
        return _with_materials(document, join(parts), entries)


def _tint(part: RawMesh, entry: Entry) -> RawMesh:
    return part if part.colors is None else replace(part, colors=part.colors * np.array(base_color_factor(entry)))


def _with_materials(document: GltfDocument, mesh: RawMesh, entries: Sequence[Entry]) -> RawMesh:
    """Return `mesh` with what all its parts agree about; entries: the material of each part, empty for none."""
    texture, note = _base_color(document, entries)
    maps = {name: found for name in MAPS if (found := _shared_map(document, entries, name)) is not None}
    if mesh.uvs is None:
        some = None if texture is None else "not all of its parts have texture coordinates"
        texture, note, maps = None, some or note, {}
    finishes = {_finish(entry) for entry in entries}
    finish = finishes.pop() if len(finishes) == 1 else Finish()
    return replace(mesh, texture=texture, texture_note=note, maps=maps, finish=finish)


def _base_color(document: GltfDocument, entries: Sequence[Entry]) -> tuple[Texture | None, str | None]:
    """Return the one colour texture that any part has, or None and the reason if there are several or it is broken."""
    references = [found for entry in entries if (found := TEXTURES["base_color"].reference(entry)) is not None]
    try:
        pictures = _distinct_pictures(document, references)
    except DataError as error:
        return None, str(error).removeprefix(f"{document.path}: ")
    if len(pictures) > 1:
        return None, f"it uses {len(pictures)} different textures, but one is needed; bake them into one"
    if not pictures:
        return None, None
    return _texture(document, "base_color", pictures[0], references[0], entries), None


def _shared_map(document: GltfDocument, entries: Sequence[Entry], name: str) -> Texture | None:
    """Return the texture that all parts share; None also where it cannot be used or counts nothing."""
    references = [TEXTURES[name].reference(entry) for entry in entries]
    present = [reference for reference in references if reference is not None]
    if not present or len(present) < len(references) or not any(_shared_factor(entries, name)):
        return None
    try:
        pictures = _distinct_pictures(document, present)
    except DataError:
        return None
    return _texture(document, name, pictures[0], present[0], entries) if len(pictures) == 1 else None


def _texture(
    document: GltfDocument, name: str, picture: Image.Image, reference: Entry, entries: Sequence[Entry]
) -> Texture:
    texels = TEXTURES[name].decode(picture) * torch.tensor(_shared_factor(entries, name))
    return Texture(texels, "clamp" if wrap_codes(document, reference) == {CLAMP_TO_EDGE} else "repeat")


def _shared_factor(entries: Sequence[Entry], name: str) -> Factors:
    """Return the factors that all parts have; ones if they do not agree."""
    factors = {TEXTURES[name].factor(entry) for entry in entries}
    return factors.pop() if len(factors) == 1 else (1.0, 1.0, 1.0)


def _distinct_pictures(document: GltfDocument, references: Sequence[Entry]) -> list[Image.Image]:
    """Return the pictures that are referred to; equal ones once. Raises DataError if one cannot be read or placed."""
    if any(has_own_coordinates(reference) for reference in references):
        raise DataError("a texture has coordinates of its own; only the first set, as it is, is supported")
    pictures: list[Image.Image] = []
    for index in dict.fromkeys(document.image_index(reference["index"]) for reference in references):
        picture = document.image(index)
        if picture not in pictures:
            pictures.append(picture)
    return pictures


def _finish(entry: Entry) -> Finish:
    diffuse, glow = Finish(), emissive_factor(entry)
    has_map = "metallicRoughnessTexture" in metallic_roughness(entry)
    return Finish(
        diffuse.metallic if has_map else metallic_factor(entry),
        diffuse.roughness if has_map else roughness_factor(entry),
        glow if any(glow) and "emissiveTexture" not in entry else None,
        reflects(entry),
        is_unlit(entry),
    )
