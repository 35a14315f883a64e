"""Material libraries (MTL) of Wavefront OBJ files, with the extension for physically based materials (Pr, Pm).

Source: the format's specification by Alias|Wavefront, appendices B1 and B2.1 (OBJ) and chapter 5 (MTL).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

from diffrender.readers.meshes.text_file import read_text

# How many numbers may follow an option of a texture map; other options take one word.
MOST_NUMBERS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}
# Larger numbers are damaged, as are infinity and NaN.
LARGEST = 1e30
# Maps that become no part of a mesh's data, besides all other map_...; map_aat is none.
UNUSED_MAPS = ("norm", "bump", "disp", "decal", "refl")
# Sheen, clear coat and anisotropy, which our materials do not have; 0 is none.
UNUSED_NUMBERS = ("ps", "pc", "aniso")
# How a colour may be written instead of in RGB.
OTHER_COLORS = ("xyz", "spectral")
# Illumination models: the colour as it is; without highlights; reflection; glass, which Maya writes for all it has.
CONSTANT, DIFFUSE, MIRROR, GLASS = 0, 1, 3, 4
# Other models with reflection, refraction or shadows alone.
REFRACTING = range(5, 11)
# Ks and Ns up to which a highlight is that of Blender's material where nobody chose one.
USUAL_SPECULAR, USUAL_EXPONENT = 0.5, 325.0
# Ns up to which it is no highlight; MeshLab, CloudCompare and trimesh write 0 or 1 beside a Ks that is not black.
FLAT_EXPONENT = 1.0


@dataclass(frozen=True)
class Picture:
    """A texture map: its file as the library names it, relative to the library, and how it is placed.

    scale, offset: texture coordinates are multiplied by scale and moved by offset, u and v from the bottom left.
    clamped: whether the picture is not repeated outside 0..1.
    """

    file: str
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamped: bool = False


@dataclass(frozen=True)
class MtlMaterial:
    """What a library says of one material.

    folder: that of the library. color: Kd, linear RGB. picture: map_Kd. roughness, metallic: Pr, Pm. emissive: Ke,
    linear RGB. unused: the keywords of maps, colours and numbers, and options of map_Kd, that are not read. unlit:
    whether the illumination model shows the colour as it is (illum 0). ambient: map_Ka. opacity: d, or else 1 - Tr;
    specular: the largest of Ks, infinite for a spectrum; exponent: Ns; illumination: illum; transmits: whether Ni or Tf
    are not 1; these are not shown.
    """

    folder: Path
    color: tuple[float, float, float] | None = None
    picture: Picture | None = None
    roughness: float | None = None
    metallic: float | None = None
    emissive: tuple[float, float, float] | None = None
    unused: tuple[str, ...] = ()
    unlit: bool = False
    ambient: Picture | None = field(default=None, compare=False)
    opacity: float | None = field(default=None, compare=False)
    specular: float = field(default=0.0, compare=False)
    exponent: float = field(default=0.0, compare=False)
    illumination: int | None = field(default=None, compare=False)
    transmits: bool = field(default=False, compare=False)

    @property
    def has_highlight(self) -> bool:
        """Whether somebody chose highlights by Ks and Ns; not read, as exporters disagree about what Ns means."""
        is_chosen = self.specular > USUAL_SPECULAR or self.exponent > USUAL_EXPONENT
        has_one = self.specular > 0 and (self.exponent > FLAT_EXPONENT or self.specular == math.inf)
        return is_chosen and has_one and self.roughness is None and self.illumination not in (CONSTANT, DIFFUSE)

    @property
    def is_refracting(self) -> bool:
        """Whether its illumination model reflects or refracts, as metallic and roughness do not say already."""
        return (
            self.illumination in REFRACTING
            or (self.illumination == MIRROR and self.roughness is None and self.metallic is None)
            or (self.illumination == GLASS and self.transmits)
        )

    def finish(self) -> tuple[float | None, float | None, tuple[float, float, float] | None, bool]:
        """Return roughness, metallic, emission and unlit; None for what is not said, or by a map, which is not read."""
        return (
            None if "map_pr" in self.unused else self.roughness,
            None if "map_pm" in self.unused else self.metallic,
            None if "map_ke" in self.unused else self.emissive,
            self.unlit,
        )

    def unused_maps(self) -> tuple[str, ...]:
        """Return the keywords of maps that are not read; map_Ka only if it is another picture than map_Kd."""
        return self.unused if self.ambient in (None, self.picture) else (*self.unused, "map_ka")


def read_mtl(path: Path) -> dict[str, MtlMaterial]:
    """Return the materials of a library by name. Numbers that cannot be read are ignored, as most programs do."""
    materials: dict[str, MtlMaterial] = {}
    name = ""
    for line in read_text(path).split("\n"):
        words = [*line.split(None, 1), "", ""]
        keyword, rest = words[0].lower(), words[1].strip()
        if keyword == "newmtl":
            name = rest
            materials[name] = MtlMaterial(path.parent)
        elif name in materials and rest:
            materials[name] = _with_line(materials[name], keyword, rest)
    return materials


def find_material(materials: dict[str, MtlMaterial], name: str) -> MtlMaterial | None:
    """Return the material that `usemtl name` means: by its whole name, or without a comment after it or quotes."""
    plain = name.partition(" #")[0].strip()
    return next((materials[each] for each in (name, plain, plain.strip("\"'")) if each in materials), None)


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file called `name`, relative to `folder` and written on any system, or one of that name in `folder`.

    Some exporters write absolute paths; on another machine the file is usually next to the one that names it. Names may
    be in quotes, or have a comment after them.
    """
    for each in dict.fromkeys((name, name.strip("\"'"), name.partition(" #")[0].strip())):
        plain = each.replace("\\", "/")
        for file in (folder / each, folder / plain, folder / Path(plain).name):
            if os.path.isfile(file):  # False also for what cannot be a name
                return file
    return None


def find_libraries(folder: Path, names: str) -> tuple[list[Path], list[str]]:
    """Return the libraries that `mtllib names` means, and the names of those that do not exist.

    Names are separated by spaces, and may hold some.
    """
    found, missing = [], []
    words = names.split()
    start = 0
    while start < len(words):
        for end in range(len(words), start, -1):
            file = find_file(folder, " ".join(words[start:end]))
            if file is not None:
                found.append(file)
                break
        else:
            end = next(
                (i for i, word in enumerate(words[start:], start + 1) if word.lower().endswith(".mtl")), len(words)
            )
            missing.append(" ".join(words[start:end]))
        start = end
    return found, missing


def _with_line(material: MtlMaterial, keyword: str, rest: str) -> MtlMaterial:
    if keyword == "map_kd":
        picture, unused = _picture(rest)
        return replace(material, picture=picture, unused=(*material.unused, *unused))
    if keyword == "map_ka":
        return replace(material, ambient=_picture(rest)[0])
    if keyword in UNUSED_MAPS or (keyword.startswith("map_") and keyword != "map_aat"):
        return replace(material, unused=(*material.unused, keyword))
    word = rest.split()[0].lower()
    if keyword in ("kd", "ke") and word in OTHER_COLORS:
        return replace(material, unused=(*material.unused, f"{keyword.capitalize()} {word}"))
    numbers = _numbers(rest.removeprefix("-halo").partition("#")[0].split())
    color = (numbers * 3)[:3] if len(numbers) == 1 else numbers[:3]
    if keyword == "d" and numbers:
        return replace(material, opacity=numbers[0])
    # Programs disagree about what Tr 1 means.
    if keyword == "tr" and numbers and numbers[0] < 1 and material.opacity is None:
        return replace(material, opacity=1 - numbers[0])
    if keyword == "kd" and len(color) == 3:
        return replace(material, color=(color[0], color[1], color[2]))
    if keyword == "ke" and len(color) == 3 and any(color):
        return replace(material, emissive=(color[0], color[1], color[2]))
    if keyword == "ks":
        return replace(material, specular=math.inf if word in OTHER_COLORS else max(color, default=0.0))
    if keyword == "ns" and numbers:
        return replace(material, exponent=numbers[0])
    if keyword in ("ni", "tf") and any(number != 1 for number in numbers):
        return replace(material, transmits=True)
    if keyword == "illum" and numbers:
        return replace(material, illumination=int(numbers[0]), unlit=numbers[0] == CONSTANT)
    if keyword in UNUSED_NUMBERS and any(numbers):
        return replace(material, unused=(*material.unused, keyword))
    if keyword == "pr" and numbers:
        return replace(material, roughness=min(max(numbers[0], 0.0), 1.0))
    if keyword == "pm" and numbers:
        return replace(material, metallic=min(max(numbers[0], 0.0), 1.0))
    return material


def _picture(rest: str) -> tuple[Picture, list[str]]:
    """Return the picture that a line names, and what changes its colours but is not read."""
    words = rest.split()
    scale, offset, clamped = (1.0, 1.0), (0.0, 0.0), False
    unused = []
    while len(words) > 1 and words[0].startswith("-") and not _is_number(words[0]):
        option = words.pop(0).lower()
        values: list[str] = []
        # The last word is part of the file's name.
        while (
            len(words) > 1
            and len(values) < MOST_NUMBERS.get(option, 1)
            and (_is_number(words[0]) or option not in MOST_NUMBERS)
        ):
            values.append(words.pop(0))
        numbers = _numbers(values)
        if option == "-s" and numbers:
            # An omitted number is 1.
            scale = (numbers[0], numbers[1] if len(numbers) > 1 else 1.0)
        elif option == "-o" and numbers:
            offset = (numbers[0], numbers[1] if len(numbers) > 1 else 0.0)
        elif option == "-clamp":
            clamped = values == ["on"]
        elif option == "-mm" and [*numbers, *(0.0, 1.0)[len(numbers) :]] != [0.0, 1.0]:  # base and gain
            unused.append(f"map_kd {option}")
    return Picture(" ".join(words), scale, offset, clamped), unused


def _is_number(word: str) -> bool:
    try:
        return abs(float(word)) < LARGEST
    except ValueError:
        return False


def _numbers(words: list[str]) -> list[float]:
    """Return the numbers before the first word that is not one."""
    return [float(word) for word in takewhile(_is_number, words)]
