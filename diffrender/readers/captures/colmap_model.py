"""COLMAP models: the cameras and images of a folder with cameras.bin and images.bin, or with the same as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffrender.errors import DataError
from diffrender.readers.captures.camera_models import CAMERA_MODELS, UNKNOWN_LENSES
from diffrender.readers.captures.colmap_binary import read_cameras_binary, read_images_binary
from diffrender.readers.captures.colmap_entries import CameraEntry, ImageEntry
from diffrender.readers.captures.colmap_text import read_cameras_text, read_images_text
from diffrender.readers.captures.posed_image import Intrinsics
from diffrender.readers.captures.problems import problems_error

# More pixels along a side than any picture has: what a damaged file says.
LARGEST_SIDE = 1 << 20


@dataclass(frozen=True)
class ColmapModel:
    """Cameras by their numbers, and images sorted by name, as the files have them."""

    cameras_file: Path
    images_file: Path
    cameras: dict[int, CameraEntry]
    images: tuple[ImageEntry, ...]

    def intrinsics(self, image: ImageEntry) -> Intrinsics:
        """Return the lens of an image."""
        camera = self.cameras[image.camera]
        model = CAMERA_MODELS[camera.model]
        values = dict(zip(model.parameters, camera.parameters, strict=True))
        distortion = None
        if model.lens is not None:
            distortion = model.lens(**{name: values[name] for name in model.coefficients()})
        return Intrinsics(
            focal_x_px=values.get("fx", values.get("f")),
            focal_y_px=values.get("fy", values.get("f")),
            center_x_px=values["cx"],
            center_y_px=values["cy"],
            distortion=None if distortion is None or distortion.is_identity() else distortion,
        )


# What reads cameras and images, by the suffix of their files: as COLMAP, binary first.
_FORMATS: dict[str, tuple[Callable[[Path], Sequence[CameraEntry]], Callable[[Path], Sequence[ImageEntry]]]] = {
    ".bin": (read_cameras_binary, read_images_binary),
    ".txt": (read_cameras_text, read_images_text),
}


def is_model(folder: Path) -> bool:
    """Return whether a folder holds a model, by the names of its files."""
    return _suffix(folder) is not None


def _suffix(folder: Path) -> str | None:
    for suffix in _FORMATS:
        if all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
            return suffix
    return None


def read_model(folder: Path) -> ColmapModel:
    """Read the cameras and images of a COLMAP model, 3.x or 4.x; its points, rigs and frames are not needed.

    images.* holds the pose of each image in the world, also of those in rigs, and no image without one.
    Raises one DataError with everything that is wrong.
    """
    suffix = _suffix(folder)
    if suffix is None:
        raise DataError(f"{folder}: must hold cameras and images of COLMAP, as .bin or as .txt")
    read_cameras, read_images = _FORMATS[suffix]
    cameras_file, images_file = folder / f"cameras{suffix}", folder / f"images{suffix}"
    entries = read_cameras(cameras_file)
    cameras = {entry.number: entry for entry in entries}
    problems = [problem for entry in entries for problem in _camera_problems(entry)]
    if len(cameras) < len(entries):
        problems.append("two cameras have the same number")
    if not entries:
        problems.append("holds no camera; run COLMAP's mapper again, or export the model again")
    if problems:
        raise problems_error(cameras_file, problems, len(entries))
    images = read_images(images_file)
    if not images:
        raise DataError(f"{images_file}: holds no image; run COLMAP's mapper again, or choose another model")
    problems = [problem for image in images for problem in _image_problems(image, cameras)]
    names = Counter(image.name for image in images)
    problems += [f"{name}: is in it {count} times; remove the others" for name, count in names.items() if count > 1]
    if problems:
        raise problems_error(images_file, problems, len(images))
    return ColmapModel(cameras_file, images_file, cameras, tuple(sorted(images, key=lambda image: image.name)))


def _camera_problems(camera: CameraEntry) -> list[str]:
    place = f"camera {camera.number}"
    if camera.model in UNKNOWN_LENSES:
        return [
            f"{place}: {camera.model} is not supported; undistort the images (colmap image_undistorter), or run COLMAP"
            f" again with another ImageReader.camera_model: {', '.join(CAMERA_MODELS)}"
        ]
    model = CAMERA_MODELS.get(camera.model)
    if model is None:
        return [f"{place}: {camera.model} is no camera model of COLMAP; it must be one of {', '.join(CAMERA_MODELS)}"]
    problems = []
    if len(camera.parameters) != len(model.parameters):
        wanted = f"{len(model.parameters)} numbers ({', '.join(model.parameters)})"
        return [f"{place}: {camera.model} must have {wanted}, got {len(camera.parameters)}"]
    for name, value in zip(model.parameters, camera.parameters, strict=True):
        if not math.isfinite(value):
            problems.append(f"{place}: {name} must be a finite number, got {value}")
        elif name in ("f", "fx", "fy") and value <= 0:
            problems.append(f"{place}: the focal length {name} must be above 0, got {value:g}; export the model anew")
    for name, side in (("width", camera.width), ("height", camera.height)):
        if not 1 <= side <= LARGEST_SIDE:
            problems.append(f"{place}: {name} must be 1..{LARGEST_SIDE} pixels, got {side}")
    return problems


def _image_problems(image: ImageEntry, cameras: dict[int, CameraEntry]) -> list[str]:
    place = f"image {image.number} ({image.name})"
    problems = []
    if image.camera not in cameras:
        few = ", ".join(str(number) for number in list(cameras)[:6])
        problems.append(f"{place}: camera {image.camera} is not in cameras; there are {few}")
    numbers = (*image.quaternion, *image.translation)
    if not all(math.isfinite(value) and abs(value) < 1e30 for value in numbers):
        problems.append(f"{place}: its pose must be finite numbers, got {', '.join(f'{value:g}' for value in numbers)}")
    elif math.hypot(*image.quaternion) < 1e-6:
        problems.append(f"{place}: the quaternion of its pose has length 0, which is no rotation")
    if not image.name:
        problems.append(f"{place}: has no name")
    return problems
