"""Images of normals and depth that belong to the frames of a capture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.filters import resize_area
from diffrender.imaging.lens_distortion import LensDistortion
from diffrender.readers.captures.canvas import put_on_canvas
from diffrender.readers.captures.posed_image import PosedImage, turn_of
from diffrender.readers.captures.problems import load_or_note, problems_error
from diffrender.readers.captures.undistort import undistort
from diffrender.readers.images.image import decode_picture, existing_file, stored_and_turned_size
from diffrender.render.aovs import AOV, AOVS
from diffrender.scene.target_views import Views

# Those that a capture may have beside its images.
CAPTURED_AOVS: Mapping[str, AOV] = {name: aov for name, aov in AOVS.items() if name != "color"}


def read_aov(source: Path, frames: Sequence[PosedImage], views: Views, name: str) -> Tensor:
    """Read "normal" or "depth" of `frames` as `Views.aovs` has it: [N, H, W, C], in the size of `views`.

    The files are .npy arrays [H, W, C] (or [H, W] for depth) of numbers, at least as large as the views and of their
    shape: world normals, zero where there is no surface; camera depths, 0 or less where unknown, also as 16-bit images.
    NaN is unknown, and so is a pixel if any part of it is, or is ignored; pixels outside the views' masks are zero.
    Beside distorted photographs they are distorted too, and undistorted with them: a pinhole with the same axes sees
    the same normals and depths along its axis, elsewhere. Pixels are means over their area, as those of a rendering.
    Raises one DataError that lists all frames whose file is missing or of another shape.
    """
    problems: list[str] = []
    found = []
    boxes = views.photo_boxes()
    for index, frame in enumerate(frames):
        top, left, height, width = boxes[index]
        inside = index, slice(top, top + height), slice(left, left + width)
        mask, weights = (None if values is None else values[inside] for values in (views.masks, views.weights))
        found.append(load_or_note(frame.place, problems, partial(_load, frame, name, (height, width), mask, weights)))
    if problems:
        raise problems_error(source, problems, len(frames))
    known = [image for image in found if image is not None]
    return put_on_canvas(known, torch.tensor(boxes), views.cameras.height, views.cameras.width)


def _load(frame: PosedImage, name: str, size: tuple[int, int], mask: Tensor | None, weights: Tensor | None) -> Tensor:
    height, width = size
    lens = frame.intrinsics.distortion
    path = frame.aov_paths.get(name)
    if path is None:
        raise DataError(f"has no {name}_path, which loss.{name} needs; give it a .npy file, or remove loss.{name}")
    values = _values(path, name)
    channels = CAPTURED_AOVS[name].channels
    if channels == 1 and values.ndim == 2:
        values = values[..., None]
    is_numeric = values.dtype.kind in "fiu"
    if values.ndim != 3 or values.shape[2] != channels or not is_numeric or min(values.shape[:2]) < 1:
        raise DataError(f"{path}: must be numbers [height, width, {channels}], got {values.dtype} {list(values.shape)}")
    tensor = torch.from_numpy(values.astype(np.float32))
    if tensor.shape[0] < height or tensor.shape[1] < width:
        raise DataError(
            f"{path}: is {tensor.shape[1]} x {tensor.shape[0]} (width x height), smaller than the fitted images,"
            f" {width} x {height}; lower targets.resolution, or give a larger file"
        )
    # The fitted images are rounded to whole pixels.
    if abs(tensor.shape[0] * width - tensor.shape[1] * height) > 0.5 * sum(tensor.shape[:2]):
        raise DataError(
            f"{path}: is {tensor.shape[1]} x {tensor.shape[0]} (width x height), which is of another shape than the"
            f" fitted images, {width} x {height}; it must have one value for each pixel of its image"
        )
    if name == "depth":
        tensor = tensor * frame.depth_unit
        tensor = tensor.where(tensor > 0, torch.nan)
    resized = resize_area(tensor[None], height, width)[0] if lens is None else _undistort(tensor, frame, lens, size)
    if weights is not None:
        resized = resized.where(weights[..., None] == 1, torch.nan)
    if mask is None:
        return resized
    # Normals are zero where there is no surface, so their mean over a pixel already includes its coverage.
    covered = resized * mask[..., None] if name == "depth" else resized
    return covered.where(mask[..., None] > 0, 0.0)


def _undistort(values: Tensor, frame: PosedImage, lens: LensDistortion, size: tuple[int, int]) -> Tensor:
    """Return values [H, W, C], of any size of the frame's photograph, as a pinhole sees them: [height, width, C].

    NaN where any part of a pixel is unknown, or beyond the photograph.
    """
    sizes = stored_and_turned_size(frame.image_path)
    full_width, full_height = (values.shape[1], values.shape[0]) if sizes is None else sizes[turn_of(frame) is True]
    scale_x, scale_y = values.shape[1] / full_width, values.shape[0] / full_height
    focal_x, focal_y, center_x, center_y = frame.intrinsics.resolved(full_width, full_height)
    intrinsics = focal_x * scale_x, focal_y * scale_y, center_x * scale_x, center_y * scale_y
    is_known = values.isfinite().all(-1, keepdim=True)
    channels = torch.cat([values.where(is_known, 0.0), is_known.to(values)], -1)
    pixels, weights, _ = undistort(channels, lens, intrinsics, *size)
    is_whole = (weights[..., None] == 1) & (pixels[..., -1:] > 1 - 1e-5)
    return pixels[..., :-1].where(is_whole, torch.nan)


def is_depth_picture(path: Path) -> bool:
    """Return whether a file of depths is an image of whole numbers, by its name."""
    return path.suffix.lower() in (".png", ".tif", ".tiff")


def _values(path: Path, name: str) -> np.ndarray:
    """Return the values of a .npy file or, of depth, the whole numbers of an image."""
    if name == "depth" and is_depth_picture(path):
        values = np.asarray(decode_picture(existing_file(path), str(path)))
        if values.dtype.itemsize == 1:
            raise DataError(f"{path}: has 8 bits, as a picture to look at; depth must have 16 bits, or be a .npy file")
        return values
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a .npy array ({error})") from error
