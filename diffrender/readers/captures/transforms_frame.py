"""One frame of a transforms.json: its image, lens and pose, checked."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL, invert_rigid
from diffrender.readers.captures.json_values import is_number, matrix_of, number_of, shorten
from diffrender.readers.captures.normal_depth import CAPTURED_AOVS, is_depth_picture
from diffrender.readers.captures.photometry import photometry_of
from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES, PictureFolder
from diffrender.readers.captures.posed_image import PosedImage
from diffrender.readers.captures.poses import rigid_pose
from diffrender.readers.captures.transforms_lens import intrinsics_of, size_of

NERFSTUDIO_DEPTH = "depth_file_path"  # depth in thousandths of the world's unit
NGP_DEPTH_UNIT = "integer_depth_scale"  # of pictures of depth, in the world's unit


def posed_image(
    path: Path, content: Mapping[str, Any], index: int, frame: Any, problems: list[str]
) -> PosedImage | None:
    """Read entry `index` of "frames" in the file `path`; None and entries in `problems` if something in it is wrong.

    content: the whole file, with the values for all frames.
    """
    if not isinstance(frame, dict):
        problems.append(f"frame {index}: must be an object with file_path, got {shorten(frame)}")
        return None
    file_path = frame.get("file_path")
    if not isinstance(file_path, str) or not file_path:
        problems.append(f"frame {index}: file_path must be the image's path, got {shorten(file_path)}")
        return None
    place = f"frame {index} ({file_path})"
    own: list[str] = []
    # A frame's own value comes before the one for all frames.
    common = {key: value for key, value in content.items() if key != "frames"}
    lens = common | {key: value for key, value in frame.items() if value is not None}
    lens = {key: value for key, value in lens.items() if value is not None}
    intrinsics = intrinsics_of(lens, own)
    width, height = size_of(lens, "w", own), size_of(lens, "h", own)
    cam_from_world = _cam_from_world(frame.get("transform_matrix"), own)
    mask_path, ignore_path = frame.get("mask_path"), frame.get("ignore_path")
    for key, value in (("mask_path", mask_path), ("ignore_path", ignore_path)):
        if value is not None and not isinstance(value, str):
            own.append(f"{key} must be a path, got {shorten(value)}")
    aov_paths, depth_unit = {}, 1.0
    unit_of_pictures = number_of(lens, NGP_DEPTH_UNIT, 0, math.inf, own)
    for name in CAPTURED_AOVS:
        key = f"{name}_path"
        if name == "depth" and frame.get(key) is None and frame.get(NERFSTUDIO_DEPTH) is not None:
            key, depth_unit = NERFSTUDIO_DEPTH, 1e-3
        aov_path = frame.get(key)
        if isinstance(aov_path, str):
            aov_paths[name] = resolve(path.parent, aov_path)
            if key == "depth_path" and is_depth_picture(aov_paths[name]):
                depth_unit = unit_of_pictures or 1.0
        elif aov_path is not None:
            own.append(f"{key} must be a path, got {shorten(aov_path)}")
    photometry = photometry_of(frame, own)
    time = frame.get("time")
    if own or cam_from_world is None:
        problems.extend(f"{place}: {problem}" for problem in own)
        return None
    return PosedImage(
        name=file_path,
        place=place,
        image_path=image_of(path.parent, file_path),
        mask_path=None if mask_path is None else resolve(path.parent, mask_path),
        ignore_paths=() if ignore_path is None else (resolve(path.parent, ignore_path),),
        cam_from_world=cam_from_world,
        intrinsics=intrinsics,
        stated_width=width,
        stated_height=height,
        aov_paths=aov_paths,
        depth_unit=depth_unit,
        photometry=photometry,
        # Some captures have the time of day here, as text.
        time=float(time) if is_number(time) and math.isfinite(time) else None,
    )


def resolve(folder: Path, name: str) -> Path:
    """Return the file that a capture in `folder` calls `name`, also if it was written on Windows."""
    plain = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not os.path.exists(plain) else plain


def image_of(folder: Path, name: str) -> Path:
    """Return the image that a capture in `folder` calls `name`, also without its suffix, as NeRF-synthetic does."""
    path = resolve(folder, name)
    if os.path.isfile(path):  # False also for what cannot be a name
        return path
    # Not with_suffix: ".5" in "view_0.5" is not a suffix.
    suffixes = (*PICTURE_SUFFIXES, *(suffix.upper() for suffix in PICTURE_SUFFIXES))
    candidates = [path.with_name(path.name + suffix) for suffix in suffixes]
    found = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
    # By a system that does not tell cases apart, 0.PNG was 0.png.
    return found or PictureFolder(path.parent).find(path.name) or path


def _cam_from_world(value: Any, problems: list[str]) -> Tensor | None:
    matrix = matrix_of(value, (3, 4), 4)
    if matrix is None:
        problems.append(f"transform_matrix must be 4 rows of 4 numbers (or 3 of 4), got {shorten(value)}")
        return None
    try:
        return invert_rigid(rigid_pose("transform_matrix", matrix) @ OPENCV_FROM_OPENGL)
    except ShapeError as error:
        problems.append(str(error).removeprefix(": "))
        return None
