"""An opened mesh file: its pieces, and how they form the parts that become objects of a scene."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from diffrender.readers.clean_mesh import RawMesh

Split = Literal["materials", "objects"]
# In parameter paths and file names.
NOT_PLAIN = re.compile(r"[^\w-]+")
# A letter may take four bytes, a file's name 255.
LONGEST_NAME = 48


class Piece(NamedTuple):
    """Triangles of one object with one material.

    object, material: their names in the file, or made up. look: equal for materials that only differ in name.
    """

    object: str
    material: str
    look: Hashable


@dataclass(frozen=True)
class MeshFile:
    """An opened mesh file.

    pieces: what it consists of. size: the longest side of the box around all positions that faces use; 0 without any.
    read: from the numbers of some pieces, in order, to these joined.
    """

    path: Path
    pieces: Sequence[Piece]
    size: float
    read: Callable[[Sequence[int]], RawMesh]

    def read_all(self) -> RawMesh:
        """Return all pieces as one mesh."""
        return self.read(range(len(self.pieces)))

    def parts(self, split: Split) -> dict[str, list[int]]:
        """Return the pieces of each part by its name, which has no spaces and dots.

        split: "materials": a part for each material that looks different; "objects": for each object, and each such
            material within it.
        """
        looks: dict[str, set[Hashable]] = {}
        for piece in self.pieces:
            looks.setdefault(piece.object, set()).add(piece.look)
        found: dict[Hashable, list[int]] = {}
        for number, piece in enumerate(self.pieces):
            found.setdefault(piece.look if split == "materials" else (piece.object, piece.look), []).append(number)
        firsts = [self.pieces[numbers[0]] for numbers in found.values()]
        if split == "materials":
            names = [piece.material for piece in firsts]
        else:
            alone = [len(looks[piece.object]) == 1 for piece in firsts]
            names = [p.object if one else f"{p.object}_{p.material}" for p, one in zip(firsts, alone, strict=True)]
        return dict(zip(plain_names(names), found.values(), strict=True))


def longest_side(positions: Iterable[np.ndarray]) -> float:
    """Return the longest side of the box around arrays [P, 3]; 0 if they are empty."""
    points = np.concatenate([np.zeros((0, 3)), *positions])
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def plain_names(names: Iterable[str]) -> list[str]:
    """Return `names` without spaces, dots and the like, shortened if they are long, so that files can have them.

    Of equal ones the later ones are numbered, and of those that differ in capitals, which are one file to some systems.
    """
    taken: set[str] = set()
    result = []
    for name in names:
        plain = NOT_PLAIN.sub("_", unicodedata.normalize("NFC", name)).strip("_")[:LONGEST_NAME].rstrip("_") or "part"
        unique, count = plain, 1
        while unique.casefold() in taken:
            count += 1
            unique = f"{plain}_{count}"
        taken.add(unique.casefold())
        result.append(unique)
    return result
