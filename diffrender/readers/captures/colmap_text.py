"""COLMAP's cameras.txt and images.txt. Source of the layout: COLMAP's documentation, "Output Format"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diffrender.errors import DataError
from diffrender.readers.captures.colmap_entries import CameraEntry, ImageEntry

# Points of an image are a line of their own; one shorter than this is looked at, to see that it is no image.
_LONGEST_IMAGE_LINE = 4096


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
    """Read images.txt but for the points in the images. Raises DataError with the line of what is wrong."""
    images = []
    lines = _lines(path)
    for number, line in lines:
        if not _is_entry(line):
            continue
        words = line.split(maxsplit=9)
        try:
            pose = [float(word) for word in words[1:8]]
            entry = ImageEntry(int(words[0]), tuple(pose[:4]), tuple(pose[4:]), int(words[8]), words[9].strip())
        except (ValueError, IndexError):
            raise _error(path, number, line, "an image: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME") from None
        images.append(entry)
        # The second line of the image; it may be empty, and at the end of the file it may be missing.
        number, line = next(lines, (number + 1, ""))
        if len(line) < _LONGEST_IMAGE_LINE and len(line.split()) % 3:
            wanted = f"the points of image {entry.number}, triples X Y POINT3D_ID, or an empty line"
            raise _error(path, number, line, wanted)
    return images


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
