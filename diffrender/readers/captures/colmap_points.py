"""COLMAP's points3D.bin or .txt. Source of the layout: COLMAP's documentation, "Output Format"."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Points that fewer pictures show are often wrong; they are used if hardly any others are there.
SURE, FEWEST = 3, 100
# Identity, x y z, colour, error, length of the track: bytes, and where the position and the length begin.
_HEAD, _POSITION, _LENGTH = 51, 8, 43
# More than that say no more of where a scene is.
MOST = 100_000


def read_points(model: Path, suffix: str) -> tuple[np.ndarray | None, list[str]]:
    """Return points [M, 3] float64 of the world, at most MOST, of a model in a folder; and notes on what is wrong.

    suffix: .bin or .txt. None if the model has none. Of a damaged file the points before the damage are read: what a
    fit needs is in the other files.
    """
    file = model / f"points3D{suffix}"
    if not file.is_file():
        return None, []
    try:
        points, damage = (_read_binary if suffix == ".bin" else _read_text)(file)
    except OSError as error:
        return None, [f"its {file.name} cannot be read ({error})"]
    points = points[np.isfinite(points).all(1) & (np.abs(points) < 1e30).all(1)]
    notes = [f"its {file.name} {damage}; the points before that are used"] if damage else []
    return (points if len(points) else None), notes


def _choose(lengths: Sequence[int]) -> np.ndarray:
    """Return the indices of points that are used, by how many pictures show each."""
    sure = np.flatnonzero(np.array(lengths) >= SURE)
    chosen = sure if len(sure) >= FEWEST else np.arange(len(lengths))
    return chosen[:: max(1, -(-len(chosen) // MOST))]


def _read_binary(file: Path) -> tuple[np.ndarray, str]:
    """Return the positions [M, 3] of points, and what is wrong with the file, or ""."""
    data = file.read_bytes()
    (count,) = struct.unpack_from("<Q", data) if len(data) >= 8 else (0,)
    length_at = struct.Struct("<Q").unpack_from
    starts, lengths, at, damage = [], [], 8, "" if len(data) >= 8 else "is empty"
    for number in range(count):  # which ends with the file, whatever the count is
        length = length_at(data, at + _LENGTH)[0] if at + _HEAD <= len(data) else len(data)
        end = at + _HEAD + 8 * length
        if end > len(data):
            damage = f"ends within point {number + 1} of {count}"
            break
        starts.append(at + _POSITION)
        lengths.append(length)
        at = end
    index = np.array(starts, np.int64)[_choose(lengths), None] + np.arange(24)
    return np.frombuffer(data, np.uint8)[index].view("<f8").reshape(-1, 3), damage


def _read_text(file: Path) -> tuple[np.ndarray, str]:
    """Return what `_read_binary` does."""
    rows, lengths, damage = [], [], ""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split(maxsplit=8)
            if not words or words[0].startswith("#"):
                continue
            try:
                rows.append([float(word) for word in words[1:4]])
            except ValueError:
                rows.append([])
            if len(rows[-1]) < 3:
                rows.pop()
                damage = f"is damaged at line {number}"
                break
            lengths.append((words[8].count(" ") + 1) // 2 if len(words) > 8 else 0)
    return np.array(rows, np.float64).reshape(-1, 3)[_choose(lengths)], damage
