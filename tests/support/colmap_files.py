"""COLMAP models with images of 8 x 6 pixels, written by a few lines of our own, and pictures beside them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Number, model, COLMAP's number of it, width, height, parameters.
CAMERA = (3, "SIMPLE_RADIAL", 2, 8, 6, (10.0, 4.5, 2.5, 0.0))
# Number, quaternion and translation, camera, name, points in the image. The first turns by 90 degrees about z.
IMAGES = (
    (7, (0.5**0.5, 0.0, 0.0, 0.5**0.5), (0.25, -0.5, 5.0), 3, "b/second.png", [(1.5, 2.5, 9), (0.5, 0.5, -1)]),
    (2, (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 4.0), 3, "a first.png", []),
)


def write_text(folder: Path, cameras: Sequence[Any] = (CAMERA,), images: Sequence[Any] = IMAGES) -> Path:
    """Write cameras.txt and images.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Camera list with one line of data per camera:", ""]
    lines += [f"{number} {model} {w} {h} {' '.join(map(repr, values))}" for number, model, _, w, h, values in cameras]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:"]
    for number, rotation, translation, camera, name, points in images:
        lines.append(f"{number} {' '.join(map(repr, (*rotation, *translation)))} {camera} {name}")
        lines.append(" ".join(f"{x} {y} {point}" for x, y, point in points))
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_binary(folder: Path, cameras: Sequence[Any] = (CAMERA,), images: Sequence[Any] = IMAGES) -> Path:
    """Write cameras.bin and images.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    data = struct.pack("<Q", len(cameras))
    for number, _, kind, width, height, values in cameras:
        data += struct.pack(f"<IiQQ{len(values)}d", number, kind, width, height, *values)
    (folder / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for number, rotation, translation, camera, name, points in images:
        data += struct.pack("<I7dI", number, *rotation, *translation, camera) + name.encode() + b"\0"
        data += struct.pack("<Q", len(points)) + b"".join(struct.pack("<ddq", *point) for point in points)
    (folder / "images.bin").write_bytes(data)
    return folder


def write_points(folder: Path, kind: str, points: Sequence[Sequence[float]], n_seen: int = 3) -> None:
    """Write points3D.bin or .txt of `points` (x, y, z), each shown by so many pictures."""
    if kind == "text":
        track = " ".join(["2 0"] * n_seen)
        lines = [f"{i} {x!r} {y!r} {z!r} 9 9 9 0.5 {track}" for i, (x, y, z) in enumerate(points, 1)]
        (folder / "points3D.txt").write_text("\n".join(["# 3D point list", *lines, ""]))
        return
    data = struct.pack("<Q", len(points))
    for i, point in enumerate(points, 1):
        data += struct.pack("<Q3d3BdQ", i, *point, 9, 9, 9, 0.5, n_seen) + struct.pack("<II", 2, 0) * n_seen
    (folder / "points3D.bin").write_bytes(data)


WRITERS = {"text": write_text, "binary": write_binary}


def write_pictures(folder: Path, values: Mapping[str, int], size: tuple[int, int] = (8, 6), **options: Any) -> Path:
    """Write gray pictures by name; all of these values, of 255."""
    for name, value in values.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size[::-1], value, np.uint8)).save(folder / name, **options)
    return folder


def write_capture(folder: Path, kind: str = "binary", **model: Any) -> Path:
    """Write a model into sparse/0, and its images."""
    WRITERS[kind](folder / "sparse" / "0", **model)
    write_pictures(folder / "images", {image[4]: 50 + image[0] for image in model.get("images", IMAGES)})
    return folder
