"""COLMAP's cameras.bin and images.bin. Source of the layout: COLMAP's documentation, "Output Format"."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from diffrender.errors import DataError
from diffrender.readers.captures.camera_models import CAMERA_MODELS, UNKNOWN_LENSES
from diffrender.readers.captures.colmap_entries import CameraEntry, ImageEntry

_NAMES = {model.number: (name, len(model.parameters)) for name, model in CAMERA_MODELS.items()}
_NAMES |= {number: (name, length) for name, (number, length) in UNKNOWN_LENSES.items()}
_POINT_BYTES = 24


class _Bytes:
    """The content of a file that is read from front to back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        self.at = 0

    def take(self, layout: str, what: str) -> tuple[Any, ...]:
        """Return the next numbers, little endian."""
        start = self.skip(struct.calcsize("<" + layout), what)
        return struct.unpack_from("<" + layout, self.data, start)

    def skip(self, n_bytes: int, what: str) -> int:
        """Return where the next bytes begin."""
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self.data):
            raise DataError(
                f"{self.path}: ends at byte {len(self.data)}, within {what}; the file is cut short or damaged: copy it"
                " again, or export the model again"
            )
        return start

    def text(self, what: str) -> str:
        """Return the text up to the next zero byte."""
        end = self.data.find(b"\0", self.at)
        start = self.skip((end if end >= 0 else len(self.data)) + 1 - self.at, what)
        return self.data[start:end].decode("utf-8", errors="replace")

    def finish(self, what: str) -> None:
        """Raise DataError if something is left."""
        if self.at < len(self.data):
            raise DataError(
                f"{self.path}: {len(self.data) - self.at} bytes follow the last of its {what}; the file is damaged:"
                " copy it again, or export the model again"
            )


def read_cameras_binary(path: Path) -> list[CameraEntry]:
    """Read cameras.bin. Raises DataError if it is cut short, or a camera is of an unknown kind."""
    data = _Bytes(path)
    (count,) = data.take("Q", "the number of cameras")
    cameras = []
    for index in range(count):  # which ends with the file, whatever the count is
        what = f"camera {index + 1} of {count}"
        number, kind, width, height = data.take("IiQQ", what)
        if kind not in _NAMES:
            raise DataError(f"{path}: {what}, at byte {data.at}: {kind} is the number of no camera model of COLMAP")
        name, length = _NAMES[kind]
        cameras.append(CameraEntry(number, name, width, height, data.take(f"{length}d", what)))
    data.finish("cameras")
    return cameras


def read_images_binary(path: Path) -> list[ImageEntry]:
    """Read images.bin but for the points in the images. Raises DataError if it is cut short."""
    data = _Bytes(path)
    (count,) = data.take("Q", "the number of images")
    images = []
    for index in range(count):
        what = f"image {index + 1} of {count}"
        number, *pose, camera = data.take("I7dI", what)
        name = data.text(f"the name of {what}")
        (n_points,) = data.take("Q", what)
        data.skip(_POINT_BYTES * n_points, f"the {n_points} points of {what}")
        images.append(ImageEntry(number, tuple(pose[:4]), tuple(pose[4:]), camera, name))
    data.finish("images")
    return images
