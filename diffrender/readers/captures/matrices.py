"""Captures as arrays: a .npz or .json file of matrices whose camera axes are stated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.camera_axes import CAMERA_AXES, to_opencv_axes
from diffrender.geometry.rigid import invert_rigid
from diffrender.readers.captures.array_files import read_arrays
from diffrender.readers.captures.array_values import numbers_of, pixels_of, texts_of
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader
from diffrender.readers.captures.json_values import read_json
from diffrender.readers.captures.posed_capture import read_posed_capture
from diffrender.readers.captures.posed_image import Intrinsics, PosedImage
from diffrender.readers.captures.poses import note_rounding, rigid_pose
from diffrender.readers.captures.problems import problems_error
from diffrender.readers.captures.transforms_frame import resolve

POSES = ("cam_from_world", "world_from_cam")
KEYS = ("K", *POSES, "convention", "images", "masks", "width", "height", "pixel_center")
# Parts of a skew over the focal length that are rounding.
NO_SKEW = 1e-6


def read_matrices(path: str | Path, options: CaptureOptions | None = None) -> Capture:
    """Read the images and cameras that a .npz or .json file lists.

    It holds `images`, N paths relative to the file; `K`, [3, 3] or [N, 3, 3] in pixels of the images on disk, without
    skew; either `cam_from_world` or `world_from_cam`, [N, 3, 4] or [N, 4, 4], which act on column vectors; and
    `convention`, the axes of the camera in them, a key of geometry.camera_axes.CAMERA_AXES: opencv, opengl, blender,
    pytorch3d or llff. Optional: `masks`, N paths; `width` and `height`, for all or N; `pixel_center`, where K has the
    centre of the upper left pixel: 0.5 (if omitted), or 0 as OpenCV's own calibration does.
    Raises one DataError with everything that is wrong.
    """
    path, options = Path(path), options or CaptureOptions()
    content = _content(path)
    problems: list[str] = []
    names = texts_of(content, "images", None, problems)
    if names is None:
        raise problems_error(path, problems, 0)
    n = len(names)
    masks = texts_of(content, "masks", n, problems)
    convention = _convention(content, problems)
    matrices = _poses(content, n, problems)
    lenses = _lenses(content, names, problems)
    sizes = [pixels_of(content, key, n, problems) for key in ("width", "height")]
    if problems:
        raise problems_error(path, problems, n)
    frames = []
    for index, name in enumerate(names):
        place = f"image {index} ({name})"
        try:
            pose = rigid_pose("its pose", matrices[index])
        except ShapeError as error:
            problems.append(f"{place}: {str(error).removeprefix(': ')}")
            continue
        frames.append(
            PosedImage(
                name=name,
                place=place,
                image_path=resolve(path.parent, name),
                mask_path=None if masks is None else resolve(path.parent, masks[index]),
                cam_from_world=to_opencv_axes(pose if POSES[0] in content else invert_rigid(pose), convention),
                intrinsics=lenses[index],
                stated_width=None if sizes[0] is None else round(sizes[0][index]),
                stated_height=None if sizes[1] is None else round(sizes[1][index]),
            )
        )
    if problems:
        raise problems_error(path, problems, n)
    notes = note_rounding(list(matrices), "poses")
    unused = [key for key in content if key not in KEYS]
    if unused:
        notes.append(f"its {', '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used")
    return read_posed_capture(path, frames, options, notes)


def _content(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() != ".json":
        return read_arrays(path)
    return read_json(path, ", ".join(KEYS[:5]))


def _convention(content: Mapping[str, Any], problems: list[str]) -> str:
    """Return the convention of the camera's axes, "" if it is not valid."""
    value = content.get("convention")
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    if isinstance(value, str) and value.lower() in CAMERA_AXES:
        return value.lower()
    problems.append(
        f"convention must be one of {', '.join(CAMERA_AXES)}, got {'nothing' if value is None else repr(value)};"
        " it says the axes of the camera: opencv is x right, y down, z forward; opengl and blender x right, y up,"
        " z backward; pytorch3d x left, y up, z forward; llff x down, y right, z backward"
    )
    return ""


def _poses(content: Mapping[str, Any], n: int, problems: list[str]) -> Tensor:
    named = [key for key in POSES if key in content]
    if len(named) != 1:
        problems.append(f"must have either {' or '.join(POSES)}, got {' and '.join(named) or 'neither'}")
        return torch.empty(0, 4, 4)
    values = numbers_of(content, named[0], problems)
    if values is not None and tuple(values.shape) not in ((n, 3, 4), (n, 4, 4)):
        problems.append(f"{named[0]} must be [{n}, 4, 4] or [{n}, 3, 4], got {list(values.shape)}")
    return torch.empty(0, 4, 4) if values is None else values


def _lenses(content: Mapping[str, Any], names: Sequence[str], problems: list[str]) -> list[Intrinsics]:
    n = len(names)
    if "K" not in content:
        problems.append("K is missing: [3, 3], or one for each image, in pixels of the image on disk")
        return []
    values = numbers_of(content, "K", problems)
    if values is None:
        return []
    if tuple(values.shape) not in ((3, 3), (n, 3, 3)):
        problems.append(f"K must be [3, 3] or [{n}, 3, 3], got {list(values.shape)}")
        return []
    center = content.get("pixel_center", 0.5)
    center = center.item() if isinstance(center, np.ndarray) and center.size == 1 else center
    if isinstance(center, np.ndarray) or center not in (0, 0.5):
        problems.append("pixel_center must be 0.5 or 0, where K has the centre of the upper left pixel")
        return []
    lenses = []
    for index, matrix in enumerate(values.expand(n, 3, 3).tolist()):
        (fx, skew, cx), (zero, fy, cy), last = matrix
        if not (fx > 0 and fy > 0 and abs(skew) <= NO_SKEW * fx and zero == 0 and last == [0, 0, 1]):
            wanted = "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx and fy above 0"
            problems.append(f"image {index} ({names[index]}): K must be {wanted}, got {matrix}")
        lenses.append(Intrinsics(fx, fy, center_x_px=cx + 0.5 - center, center_y_px=cy + 0.5 - center))
    return lenses


def _claims(path: Path) -> bool:
    if path.suffix.lower() == ".npz":
        return True
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return False
    # Not parsed: a transforms.json may be large.
    keys = set(re.findall(r'"(K|cam_from_world|world_from_cam|frames)"\s*:', text))
    return bool(keys) and "frames" not in keys


READER = CaptureReader(
    "a .npz or .json file of matrices, with `images`, `K`, poses and `convention`", _claims, read_matrices
)
