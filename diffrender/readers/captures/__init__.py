"""Captures: images with known cameras.

To add a format, write a module with a CaptureReader (see `capture`) and list it in CAPTURE_READERS.
"""

from __future__ import annotations

from pathlib import Path

from diffrender.checks import as_path, check_type
from diffrender.errors import DataError
from diffrender.readers.captures import colmap, llff, matrices, photometric_stereo, single_image, transforms_json
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader, describe_path
from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES, some

# The first that claims a path reads it: LLFF's poses are made from COLMAP's cameras, and lack their lenses.
CAPTURE_READERS: tuple[CaptureReader, ...] = (
    photometric_stereo.READER,
    matrices.READER,
    transforms_json.READER,
    colmap.READER,
    llff.READER,
    single_image.READER,
)


def read_capture(path: str | Path, options: CaptureOptions) -> Capture:
    """Read a capture of any known format. Raises DataError if the path is of none, or if something in it is wrong."""
    path = as_path("read_capture", "path", path)
    check_type("read_capture", "options", options, CaptureOptions)
    reader = next((reader for reader in CAPTURE_READERS if reader.claims(path)), None)
    if reader is None:
        accepted = ", or ".join(reader.accepts for reader in CAPTURE_READERS)
        raise DataError(f"{path}: {_without_cameras(path) or describe_path(path)}; it must be {accepted}")
    if options.fov_deg is not None and reader is not single_image.READER:
        raise DataError(f"{path}: has cameras; remove targets.fov_deg, the field of view of one photograph without any")
    return reader.read(path, options)


def _without_cameras(path: Path) -> str | None:
    """Return in words that there are photographs alone, and what finds their cameras; None if there are none."""
    for folder in (path, path / "images"):
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        names = [each.name for each in files if each.suffix.lower() in PICTURE_SUFFIXES and each.is_file()]
        if names:
            return (
                f"holds photographs ({some(names)}), but nothing tells where their cameras were; COLMAP finds that: put"
                " its model into sparse/0 beside them"
            )
    return None
