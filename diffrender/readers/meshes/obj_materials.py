"""What the faces of an OBJ file have of their material libraries, and notes about what they do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.clean_mesh import OMITTED_COLORS
from diffrender.readers.images.image import read_image
from diffrender.readers.images.image_data import transparent_pixels
from diffrender.readers.mesh_data import Finish
from diffrender.readers.meshes.mtl import MtlMaterial, Picture, find_file, find_libraries, find_material, read_mtl
from diffrender.scene.textures.texture import Texture

# A note.
HIGHLIGHTS = "the highlights of its materials (Ks, Ns) are not read; with Pr, or exported as GLB, they are"
# What `usemtl` may say for none.
NO_MATERIAL = ("", "none", "(null)", "null", "default")


def read_materials(
    path: Path, libraries: Iterable[str], used: Iterable[str]
) -> tuple[dict[str, MtlMaterial], list[str]]:
    """Return the material of each name in `used`, and notes about what is missing or not read.

    libraries: what each `mtllib` of the file names. A name in none of them, and none if faces name no material, gives
    one that states nothing; if there is only one material, the latter mean it.
    """
    known: dict[str, MtlMaterial] = {}
    libraries, names_used = list(libraries), list(dict.fromkeys(used))
    notes: list[str] = []
    if not libraries and any(name.lower() not in NO_MATERIAL for name in names_used):
        notes.append("its faces name materials (usemtl), but it names no library that has them (mtllib)")
    for names in libraries:
        files, missing = find_libraries(path.parent, names)
        notes += [f"the material library {name} does not exist" for name in missing]
        for file in files:
            known = read_mtl(file) | known  # of several, the first library that has the name
    found = {}
    for name in names_used:
        material = find_material(known, name)
        if material is None and name == "" and len(known) == 1:
            material = next(iter(known.values()))
        if material is None and name and known:
            notes.append(f"the material {name!r} is in none of its libraries")
        found[name] = material or MtlMaterial(path.parent)
    return found, [*notes, *_not_read(list(found.values()))]


def _not_read(used: Sequence[MtlMaterial]) -> Iterator[str]:
    """Yield what these materials state that is not read."""
    unused = dict.fromkeys(keyword for material in used for keyword in material.unused_maps())
    if unused:
        yield f"{', '.join(unused)} of its materials are not read from OBJ; export as GLB to keep them"
    if any(material.opacity is not None and material.opacity < 1 for material in used):
        yield "transparency (d, Tr) is not supported; its surface is opaque"
    if any(material.has_highlight for material in used):
        yield HIGHLIGHTS
    models = sorted({material.illumination for material in used if material.is_refracting})
    if models:
        yield f"reflection and refraction (illum {', '.join(map(str, models))}) are not supported"


class ColorTexture(NamedTuple):
    """The one colour texture of some materials and its placement; or why there is none; and its transparent texels."""

    texture: Texture | None = None
    reason: str | None = None
    picture: Picture | None = None
    transparent: Tensor | None = None


def read_texture(path: Path, used: Sequence[MtlMaterial]) -> ColorTexture:
    """Read the colour texture of the materials in use; path: the OBJ file, beside which a lost picture may be."""
    pictures = {(material.folder, material.picture) for material in used if material.picture is not None}
    if not pictures:
        return ColorTexture()
    if len(pictures) > 1:
        return ColorTexture(
            reason=f"its materials use {len(pictures)} different textures, but one is needed; split it by materials"
        )
    folder, picture = pictures.pop()
    file = find_file(folder, picture.file) or find_file(path.parent, picture.file)
    if file is None:
        return ColorTexture(reason=f"its texture {picture.file} does not exist; put it beside {path.name}")
    try:
        image = read_image(file)
    except DataError as error:
        return ColorTexture(reason=f"its texture is omitted: {error}")
    texture = Texture(image.rgb, "clamp" if picture.clamped else "repeat")
    return ColorTexture(texture, None, picture, transparent_pixels(image))


def about_factors(used: Sequence[MtlMaterial], colors: np.ndarray | None) -> list[str]:
    """Return notes about colours that a texture is shown without."""
    notes = []
    if any(material.color not in (None, (1.0, 1.0, 1.0)) for material in used):
        notes.append("its texture is shown as it is, not multiplied by the colour of its material (Kd)")
    if colors is not None and (colors != 1).any():
        notes.append(OMITTED_COLORS)
    return notes


def shared_finish(used: Sequence[MtlMaterial]) -> tuple[Finish, list[str]]:
    """Return what all materials state besides their colours, and a note if they differ."""
    found = {material.finish() for material in used}
    if len(found) > 1:
        return Finish(), ["its materials differ in roughness, metallic, emission or illum, which are omitted"]
    roughness, metallic, emissive, unlit = found.pop() if found else (None, None, None, False)
    plain = Finish()
    return Finish(
        plain.metallic if metallic is None else metallic,
        plain.roughness if roughness is None else roughness,
        emissive,
        unlit=unlit,
    ), ["its materials are shown without lights (illum 0)"] if unlit else []
