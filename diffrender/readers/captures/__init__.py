"""Captures: images with known cameras.

To add a format, write a module with a CaptureReader (see `capture`) and list it in CAPTURE_READERS.
"""

from __future__ import annotations

from pathlib import Path

from diffrender.checks import as_path, check_type
from diffrender.errors import DataError
from diffrender.readers.captures import colmap, llff, matrices, photometric_stereo, transforms_json
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader, describe_path

# The first that claims a path reads it: LLFF's poses are made from COLMAP's cameras, and lack their lenses.
CAPTURE_READERS: tuple[CaptureReader, ...] = (
    photometric_stereo.READER,
    matrices.READER,
    transforms_json.READER,
    colmap.READER,
    llff.READER,
)


def read_capture(path: str | Path, options: CaptureOptions) -> Capture:
    """Read a capture of any known format. Raises DataError if the path is of none, or if something in it is wrong."""
    path = as_path("read_capture", "path", path)
    check_type("read_capture", "options", options, CaptureOptions)
    reader = next((reader for reader in CAPTURE_READERS if reader.claims(path)), None)
    if reader is None:
        accepted = ", or ".join(reader.accepts for reader in CAPTURE_READERS)
        raise DataError(f"{path}: {describe_path(path)}; it must be {accepted}")
    return reader.read(path, options)
