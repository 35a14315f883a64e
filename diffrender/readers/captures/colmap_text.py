"""COLMAP's cameras.txt and images.txt. Source of the layout: COLMAP's documentation, "Output Format"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from diffrender.errors import DataError
from diffrender.readers.captures.colmap_entries import CameraEntry, ImageEntry


def read_cameras_text(path: Path) -> list[CameraEntry]:
    """Read cameras.txt. Raises DataError with the line of what is wrong."""
    cameras = []
    for number, line in _lines(path):
        if _is_entry(line):
            words = line.split()
            try:
                cameras.append(
                    CameraEntry(int(words[0]), words[1], int(words[2]), int(words[3]), tuple(map(float, words[4:])))
                )
            except (ValueError, IndexError):
                raise _error(path, number, line, "a camera: CAMERA_ID MODEL WIDTH HEIGHT PARAMS...") from None
    return cameras


def read_images_text(path: Path) -> list[ImageEntry]:
    """Read images.txt but for the points in the images. Raises DataError with the line of what is wrong.

    The line of points that follows an image is empty if there are none; some programs leave it out.
    """
    images: list[ImageEntry] = []
    may_be_points = False  # only right after an image
    for number, line in _lines(path):
        if may_be_points and _are_points(line):
            may_be_points = False
            continue
        if _is_entry(line):
            entry = _image(line)
            if entry is None:
                wanted = "an image: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
                if may_be_points:
                    wanted = (
                        f"the points of image {images[-1].number}, triples X Y POINT3D_ID, an empty line, or {wanted}"
                    )
                raise _error(path, number, line, wanted)
            images.append(entry)
            may_be_points = True
    return images


def count_stated_images(path: Path) -> int | None:
    """Return how many images the comments at the top of images.txt say that it holds; None if they do not say."""
    for _, line in _lines(path):
        if not line.startswith("#"):
            break
        found = re.match(r"# *Number of images: *(\d+)", line)
        if found:
            return int(found[1])
    return None


def _image(line: str) -> ImageEntry | None:
    words = line.split(maxsplit=9)
    try:
        pose = [float(word) for word in words[1:8]]
        return ImageEntry(int(words[0]), tuple(pose[:4]), tuple(pose[4:]), int(words[8]), words[9].strip())
    except (ValueError, IndexError):
        return None


def _are_points(line: str) -> bool:
    """Return whether a line is numbers in threes, the third of each a whole one; so is an empty line."""
    words = line.split()
    try:
        floats = [float(word) for word in words]
        return len(words) % 3 == 0 and all(value.is_integer() for value in floats[2::3])
    except ValueError:
        return False


def _is_entry(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith("#")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, from 1."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _error(path: Path, number: int, line: str, wanted: str) -> DataError:
    text = line.strip()
    got = text if len(text) <= 80 else text[:77] + "..."
    return DataError(f"{path}, line {number}: must be {wanted}; got {got!r}; export the model again")
