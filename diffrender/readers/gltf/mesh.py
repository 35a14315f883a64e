"""glTF files as meshes: the triangles of all nodes in world space, and what the materials of a part have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.clean_mesh import OMITTED_COLORS, RawMesh, join
from diffrender.readers.gltf.document import UNDERSTOOD, GltfDocument, read_document, valid_gltf
from diffrender.readers.gltf.factors import (
    Factors,
    base_color_factor,
    emissive_factor,
    is_unlit,
    metallic_factor,
    metallic_roughness,
    reflects,
    roughness_factor,
    simplified_reflection,
)
from diffrender.readers.gltf.nodes import hidden_nodes, place_nodes
from diffrender.readers.gltf.primitives import morph_weights, read_triangles, transform
from diffrender.readers.gltf.skins import apply_skin, is_skinned, why_unposed
from diffrender.readers.gltf.textures import (
    NEAREST,
    REPEAT,
    TEXTURES,
    placement_of,
    placement_of_material,
    wrap_textures,
)
from diffrender.readers.mesh_data import Finish
from diffrender.readers.mesh_file import MeshFile, Piece, longest_side, plain_names

# Of a material, besides extensions.
NOT_READ = ("name", "extras", "doubleSided", "alphaMode", "alphaCutoff", "occlusionTexture")
# A note.
NO_NORMALS = "not all of it has normals: glTF shows such faces flat (`shading: flat`), here they are smooth"
MAPS = ("metallic_roughness", "normal", "emissive")

UNPOSED = "its skin is not applied{}: the mesh is shown as modelled"
Entry = Mapping[str, Any]
Found = tuple[Tensor, Entry]
"""Texels of a texture, and its textureInfo."""


def read_gltf_mesh(path: Path) -> MeshFile:
    """Read all triangles of a .glb or .gltf file, in world space; points and lines are skipped.

    Vertex colours are linear in glTF, and multiplied by the base colour's factor; without textures, the factors alone
    become vertex colours. Texture coordinates are those of the first texture of each material, where it places them.
    Raises DataError if the file is missing, damaged, compressed or needs an extension that is not understood.
    """
    document = read_document(path)
    parts: list[RawMesh] = []
    entries: list[Entry] = []
    pieces: list[Piece] = []
    n_skipped = 0
    unposed: dict[str, None] = {}  # reasons, each once
    with valid_gltf(path):
        nodes = list(place_nodes(document))
        hidden = hidden_nodes(document)
        shown = [(node, world) for node, world in nodes if id(node) not in hidden]
        names = _object_names(document, [node for node, _ in shown])
        for node, world in shown:
            mesh = document.entry("meshes", node["mesh"]) if "mesh" in node else {"primitives": []}
            for primitive in mesh["primitives"]:
                entry = document.material(primitive)
                part = read_triangles(document, primitive, placement_of_material(entry), morph_weights(node, mesh))
                if part is None:
                    n_skipped += 1
                else:
                    is_posed = is_skinned(node, primitive)
                    if is_posed and (reason := why_unposed(document, node, nodes)) is not None:
                        unposed[reason], is_posed = None, False
                    parts.append(
                        apply_skin(document, node, primitive, part, nodes) if is_posed else transform(part, world)
                    )
                    entries.append(entry)
                    pieces.append(Piece(names[id(node)], _material_name(primitive, entry), _look(entry)))

    def read(numbers: Sequence[int]) -> RawMesh:
        some, their = [parts[i] for i in numbers], [entries[i] for i in numbers]
        with valid_gltf(path):
            notes = [*_notes(document, some, their, n_skipped), *(UNPOSED.format(f" ({reason})") for reason in unposed)]
            return _with_materials(document, some, their, notes)

    return MeshFile(path, pieces, longest_side(part.positions[part.faces.reshape(-1)] for part in parts), read)


def _object_names(document: GltfDocument, nodes: Sequence[Entry]) -> dict[int, str]:
    """Return a name for each node, by its id: its own, or that of its mesh; all different."""
    distinct = list({id(node): node for node in nodes if "mesh" in node}.values())
    names = [node.get("name") or document.entry("meshes", node["mesh"]).get("name") or "object" for node in distinct]
    return dict(zip(map(id, distinct), plain_names(names), strict=True))


def _material_name(primitive: Entry, entry: Entry) -> str:
    return entry.get("name") or f"material_{primitive.get('material', 'none')}"


def _look(entry: Entry) -> str:
    """Return a text that is equal for materials that we read alike."""
    return json.dumps({key: value for key, value in entry.items() if key not in NOT_READ}, sort_keys=True)


def _with_materials(
    document: GltfDocument, parts: Sequence[RawMesh], entries: Sequence[Entry], notes: Sequence[str]
) -> RawMesh:
    """Return all parts as one mesh, with what they agree about; entries: the material of each, empty for none."""
    base, note = _base_color(document, entries)
    mesh = join(parts if base is not None else [*map(_tint, parts, entries)] if _has_colors(parts, entries) else parts)
    maps = [_shared_map(document, entries, name) for name in MAPS]
    found = {name: each for name, (each, _) in zip(("base_color", *MAPS), ((base, note), *maps), strict=True) if each}
    if mesh.uvs is None and found:
        found, note = {}, note or "not all of its parts have texture coordinates"
    notes = [*notes, *_wrap_notes(document, found, entries)]
    textures, uvs, more = wrap_textures(document, found, mesh.uvs)
    finishes = {_finish(entry) for entry in entries}
    return replace(
        mesh,
        uvs=uvs,
        texture=textures.pop("base_color", None),
        texture_note=note,
        maps=textures,
        finish=finishes.pop() if len(finishes) == 1 else Finish(),
        notes=(*notes, *(reason for _, reason in maps if reason), *more),
    )


def _has_colors(parts: Sequence[RawMesh], entries: Sequence[Entry]) -> bool:
    """Return whether there is a colour; it is white where a material states other things only."""
    return any(part.colors is not None for part in parts) or any(set(entry) - set(NOT_READ) for entry in entries)


def _tint(part: RawMesh, entry: Entry) -> RawMesh:
    """Return the part with colours at all vertices: its own, or white, times the factor of its material."""
    own = np.ones((len(part.positions), 3)) if part.colors is None else part.colors
    return replace(part, colors=own * np.array(base_color_factor(entry)))


def _notes(document: GltfDocument, parts: Sequence[RawMesh], entries: Sequence[Entry], n_skipped: int) -> Iterator[str]:
    """Yield what of the file is changed or not read, other than why there is no texture."""
    if n_skipped:
        yield f"{n_skipped} of its primitives are points or lines, which are skipped"
    textured = [TEXTURES["base_color"].reference(entry) is not None for entry in entries]
    if any(textured) and not all(textured):
        yield f"{textured.count(False)} of its {len(entries)} parts have no texture and show that of the others"
    colored = [part for part, has in zip(parts, textured, strict=True) if has and part.colors is not None]
    if any(bool((part.colors != 1).any()) for part in colored if part.colors is not None):
        yield OMITTED_COLORS
    if any(textured) and len({base_color_factor(entry) for entry in entries}) > 1:
        yield "its materials multiply the texture by different colours, which are omitted"
    if len({_finish(entry) for entry in entries}) > 1:
        yield "its materials differ in metallic, roughness, emission or kind, which are omitted"
    modes = sorted({entry["alphaMode"] for entry in entries if entry.get("alphaMode", "OPAQUE") != "OPAQUE"})
    if modes:
        yield f"transparency (alphaMode {', '.join(modes)}) is not supported; its surface is opaque"
    if any("occlusionTexture" in entry for entry in entries):
        yield "its occlusion texture is not read: it is light, not material"
    if any(TEXTURES[name].reference(entry) is not None for name in MAPS for entry in entries if _is_apart(entry, name)):
        yield "textures that are placed otherwise than the first of their material are omitted"
    simplified = {name for entry in entries if (name := simplified_reflection(entry)) is not None}
    for name in sorted(simplified):
        yield f"how its materials reflect by {name} is simplified"
    if len(document.entries("scenes")) > 1:
        yield f"it has {len(document.entries('scenes'))} scenes; only the one that it shows first is read"
    if any(_lacks_joints(document, node) for node in document.entries("nodes")):
        yield UNPOSED.format("")
    if document.entries("animations"):
        yield "its animations are not read"
    if any(part.normals is None and not is_unlit(entry) for part, entry in zip(parts, entries, strict=True)):
        yield NO_NORMALS
    ignored = sorted(document.extensions - set(UNDERSTOOD))
    if ignored:
        yield f"extensions that are not read: {', '.join(ignored)}"


def _lacks_joints(document: GltfDocument, node: Entry) -> bool:
    """Return whether a node has a skin that cannot be applied to all of its mesh."""
    primitives = document.entry("meshes", node["mesh"])["primitives"] if "skin" in node and "mesh" in node else []
    return not all(is_skinned(node, primitive) for primitive in primitives)


def _wrap_notes(document: GltfDocument, names: Iterable[str], entries: Sequence[Entry]) -> Iterator[str]:
    """Yield which of some shared textures continue outside 0..1 in several ways, or show their texels as squares."""
    for name in names:
        references = [found for entry in entries if (found := TEXTURES[name].reference(entry)) is not None]
        samplers = [document.sampler(reference["index"]) for reference in references]
        if any(sampler.get("magFilter") == NEAREST for sampler in samplers):
            yield f"its {name} texture is interpolated between texels, where its sampler takes the nearest"
        if len({(sampler.get("wrapS", REPEAT), sampler.get("wrapT", REPEAT)) for sampler in samplers}) > 1:
            yield f"its materials continue the {name} texture outside 0..1 in different ways; the first one's is taken"


def _is_apart(entry: Entry, name: str) -> bool:
    """Return whether a texture of a material is placed otherwise than the material's first."""
    reference = TEXTURES[name].reference(entry)
    return reference is not None and placement_of(reference) != placement_of_material(entry)


def _base_color(document: GltfDocument, entries: Sequence[Entry]) -> tuple[Found | None, str | None]:
    """Return the one colour texture that any part has, or None and the reason if there are several or it is broken."""
    references = [found for entry in entries if (found := TEXTURES["base_color"].reference(entry)) is not None]
    try:
        pictures = _distinct_pictures(document, references)
    except DataError as error:
        return None, str(error).removeprefix(f"{document.path}: ")
    if len(pictures) > 1:
        return None, f"it uses {len(pictures)} different textures, but one is needed; split it by materials"
    if not pictures:
        return None, None
    return _texels(document, "base_color", pictures[0], references[0], entries), None


def _shared_map(document: GltfDocument, entries: Sequence[Entry], name: str) -> tuple[Found | None, str | None]:
    """Return the texture that all parts share, or None; and a note on what is omitted, if no other says it."""
    references = [None if _is_apart(entry, name) else TEXTURES[name].reference(entry) for entry in entries]
    present = [reference for reference in references if reference is not None]
    if not present or not any(_shared_factor(entries, name)):
        return None, None
    if len(present) < len(references):
        return None, f"its {name} texture is omitted: not all of its parts have one"
    try:
        pictures = _distinct_pictures(document, present)
    except DataError as error:
        return None, f"its {name} texture is omitted: {str(error).removeprefix(f'{document.path}: ')}"
    if len(pictures) > 1:
        return None, f"its parts have {len(pictures)} different {name} textures, which are omitted"
    differ = len({TEXTURES[name].factor(entry) for entry in entries}) > 1
    note = f"its materials multiply the {name} texture by different numbers, which are omitted" if differ else None
    return _texels(document, name, pictures[0], present[0], entries), note


def _texels(
    document: GltfDocument, name: str, picture: Image.Image, reference: Entry, entries: Sequence[Entry]
) -> Found:
    return TEXTURES[name].decode(picture) * torch.tensor(_shared_factor(entries, name)), reference


def _shared_factor(entries: Sequence[Entry], name: str) -> Factors:
    """Return the factors that all parts have; ones if they do not agree."""
    factors = {TEXTURES[name].factor(entry) for entry in entries}
    return factors.pop() if len(factors) == 1 else (1.0, 1.0, 1.0)


def _distinct_pictures(document: GltfDocument, references: Sequence[Entry]) -> list[Image.Image]:
    """Return the pictures that are referred to; equal ones once. Raises DataError if one cannot be read."""
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
