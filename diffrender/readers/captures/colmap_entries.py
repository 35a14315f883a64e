"""The entries of COLMAP's files, as they are written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CameraEntry:
    """A camera: its model by name, the size of its images in pixels, and the numbers of the model."""

    number: int
    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ImageEntry:
    """An image: the rotation (w, x, y, z) and translation that take the world to its camera; OpenCV axes."""

    number: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str
