"""Captures described by a transforms.json, in the dialects of NeRF-synthetic and of nerfstudio / instant-ngp."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.rigid import check_rigid, invert_rigid, make_rigid
from diffrender.readers.captures.normal_depth import BUFFER_CHANNELS, read_buffer
from diffrender.readers.captures.posed_images import Intrinsics, PosedImage, problems_error, read_posed_images
from diffrender.scene.projections import PROJECTIONS
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.views import Views

_FILE_NAMES = ("transforms.json", "transforms_train.json")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".exr", ".hdr", ".PNG", ".JPG", ".JPEG", ".EXR")
# Camera models that are pinholes where all their distortion is zero.
_UNDISTORTED = dict.fromkeys(("SIMPLE_PINHOLE", "OPENCV", "SIMPLE_RADIAL", "RADIAL"), Perspective)
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
MOST_STOPS = 20  # either way, as scene files have it; beyond, a file means something else by the word
_RIGID_TOLERANCE = 1e-3  # files are often rounded to a few digits; what is left of it is removed by `_nearest_rigid`

# OpenGL's camera looks along -z with y up, ours along +z with y down: both turn about x.
_OPENGL_FROM_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class TransformsOptions:
    """What to read and how.

    path: the JSON file, or a folder with transforms.json or transforms_train.json.
    resolution: the long side of the images in pixels; larger ones are shrunk, None keeps them.
    background: linear RGB that fills what masks and transparency leave free.
    use_masks: False ignores mask files and gives no masks.
    buffers: which of "normal", "depth" to read from every frame's normal_path and depth_path.
    """

    path: str | Path
    resolution: int | None = None
    background: Sequence[float] = (0.0, 0.0, 0.0)
    use_masks: bool = True
    buffers: tuple[str, ...] = ()


def read_transforms(options: TransformsOptions) -> Views:
    """The images, masks and cameras of a capture, the frames in the order of the file.

    Per frame: `file_path` (relative to the JSON; the suffix may be missing), `transform_matrix` (camera to world,
    OpenGL axes: x right, y up, looking along -z) and, optionally, `mask_path`, `normal_path` (.npy, [H, W, 3] world
    normals) and `depth_path` (.npy, [H, W] camera depth in world units; 0 or NaN where unknown). Per frame or for all:
    `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`, or `camera_angle_x` (radians), `camera_angle_y`. Pixel centres are at +0.5.
    `camera_model` is a name in scene.projections.PROJECTIONS, whose parameters stand beside the focal lengths; for
    "ORTHOGRAPHIC", parallel projection, `fl_x` and `fl_y` are pixels per world unit.
    A frame may tell its `exposure`, -20..20 stops, and its `white_balance`, gains of R, G and B above 0
    (scene.cameras); null for either says nothing.
    Transparency and mask files are masks. Distortion that the camera model does not have must be zero.
    Raises one DataError with everything that is wrong, each entry with the frame, what was found and what was wanted.
    """
    if options.resolution is not None and options.resolution < 1:
        raise DataError(f"{options.path}: resolution must be at least 1 pixel, got {options.resolution}")
    path = find_transforms(options.path)
    content = _read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(f'{path}: wanted a list "frames" with at least one frame, found {_short(frames)}')
    problems: list[str] = []
    read = [_posed_image(path, content, index, frame, problems) for index, frame in enumerate(frames)]
    posed = [frame for frame in read if frame is not None]
    problems += _duplicates(posed)
    if problems:
        raise problems_error(path, problems)
    frames = _short_names(posed)
    views = read_posed_images(path, frames, options.resolution, options.background, options.use_masks)
    return replace(views, buffers={name: read_buffer(path, frames, views, name) for name in options.buffers})


def read_aabb(path: str | Path) -> Tensor | None:
    """[2, 3] the corners, low and high, of the box around the object that a transforms.json may state as "aabb"."""
    path = find_transforms(path)
    aabb = _read_json(path).get("aabb")
    if aabb is None:
        return None
    rows = _matrix(aabb, (2,), 3)
    if rows is None or not bool(torch.isfinite(rows).all()) or not bool((rows[0] < rows[1]).all()):
        raise DataError(f'{path}: "aabb" must be [[x, y, z], [x, y, z]], the low corner first; found {_short(aabb)}')
    return rows.float()


def find_transforms(path: str | Path) -> Path:
    """The JSON file that `path` means: itself, or the transforms file of the folder."""
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"{path}: does not exist; wanted a folder with {' or '.join(_FILE_NAMES)}, or such a file")
    for name in _FILE_NAMES:
        if (path / name).is_file():
            return path / name
    found = sorted(entry.name for entry in path.iterdir())
    listing = ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "") if found else "nothing"
    raise DataError(f"{path}: holds no {' or '.join(_FILE_NAMES)}; found {listing}")


def _posed_image(
    path: Path, content: Mapping[str, Any], index: int, frame: Any, problems: list[str]
) -> PosedImage | None:
    """One entry of "frames", or None and entries in `problems`."""
    if not isinstance(frame, dict):
        problems.append(f"frame {index}: wanted an object with file_path, found {_short(frame)}")
        return None
    file_path = frame.get("file_path")
    if not isinstance(file_path, str) or not file_path:
        problems.append(f"frame {index}: wanted file_path, the image's path; found {_short(file_path)}")
        return None
    place = f"frame {index} ({file_path})"
    own: list[str] = []
    # A frame's own value goes before the one for all frames.
    lens = {**{key: value for key, value in content.items() if key != "frames"}, **frame}
    intrinsics = _intrinsics(lens, own)
    width, height = _size(lens, "w", own), _size(lens, "h", own)
    cam_from_world = _cam_from_world(frame.get("transform_matrix"), own)
    mask_path = frame.get("mask_path")
    if mask_path is not None and not isinstance(mask_path, str):
        own.append(f"mask_path must be a path, found {_short(mask_path)}")
    buffer_paths = {}
    for name in BUFFER_CHANNELS:
        buffer_path = frame.get(f"{name}_path")
        if isinstance(buffer_path, str):
            buffer_paths[name] = path.parent / buffer_path
        elif buffer_path is not None:
            own.append(f"{name}_path must be a path, found {_short(buffer_path)}")
    exposure, white_balance = _exposure(frame, own), _white_balance(frame, own)
    if own or cam_from_world is None:
        problems.extend(f"{place}: {problem}" for problem in own)
        return None
    return PosedImage(
        name=file_path,
        place=place,
        image_path=_with_suffix(path.parent / file_path),
        mask_path=None if mask_path is None else path.parent / mask_path,
        cam_from_world=cam_from_world,
        intrinsics=intrinsics,
        stated_width=width,
        stated_height=height,
        buffer_paths=buffer_paths,
        exposure=exposure,
        white_balance=white_balance,
    )


def _with_suffix(path: Path) -> Path:
    """`path`, or the image that is named by it without its suffix, as NeRF-synthetic does."""
    if path.is_file():
        return path
    # Not with_suffix: in "view_0.5" the end is no suffix.
    candidates = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), path)


def _intrinsics(lens: Mapping[str, Any], problems: list[str]) -> Intrinsics:
    model = lens.get("camera_model", "PINHOLE")
    projection = (_UNDISTORTED | PROJECTIONS).get(model) if isinstance(model, str) else None
    if projection is None:
        problems.append(f"camera_model {_short(model)} is not supported; undistort the images to PINHOLE first")
        projection = Perspective
    names = projection.parameter_names()
    bent = [f"{key} = {lens[key]}" for key in _DISTORTION if key not in names and key in lens and lens[key] != 0]
    if bent:
        problems.append(
            f"lens distortion is not supported, found {', '.join(bent)}; undistort the images first"
            " (colmap image_undistorter, or ns-process-data) and leave these keys out"
        )
    result = Intrinsics(
        focal_x_px=_number(lens, "fl_x", 0, math.inf, problems),
        focal_y_px=_number(lens, "fl_y", 0, math.inf, problems),
        fov_x_rad=_number(lens, "camera_angle_x", 0, math.pi, problems),
        fov_y_rad=_number(lens, "camera_angle_y", 0, math.pi, problems),
        center_x_px=_number(lens, "cx", -math.inf, math.inf, problems),
        center_y_px=_number(lens, "cy", -math.inf, math.inf, problems),
        projection=projection,
        parameters={name: _number(lens, name, -math.inf, math.inf, problems) or 0.0 for name in names},
    )
    if not any(key in lens for key in ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y")):
        problems.append("no focal length; wanted fl_x (pixels) or camera_angle_x (radians), for all frames or for each")
    return result


def _number(lens: Mapping[str, Any], key: str, low: float, high: float, problems: list[str]) -> float | None:
    """lens[key] as a number strictly between low and high, None where it is absent."""
    if key not in lens:
        return None
    value = lens[key]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low < value < high:
        return float(value)
    wanted = "a finite number" if low == -math.inf else f"a number above {low:g}"
    if low == 0 and high == math.pi:
        wanted = "an angle in radians between 0 and pi"
    problems.append(f"{key} must be {wanted}, found {_short(value)}")
    return None


def _exposure(frame: Mapping[str, Any], problems: list[str]) -> float | None:
    value = frame.get("exposure")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -MOST_STOPS <= value <= MOST_STOPS:
        return float(value)
    if value is not None:
        problems.append(f"exposure must lie in {-MOST_STOPS}..{MOST_STOPS}, in stops; found {_short(value)}")
    return None


def _white_balance(frame: Mapping[str, Any], problems: list[str]) -> tuple[float, ...] | None:
    value = frame.get("white_balance")
    row = None if value is None else _matrix([value], (1,), 3)
    # In float32, as cameras have it: there 1e-50 is 0.
    row = None if row is None else row.float()
    if row is not None and bool((row > 0).all()) and bool(torch.isfinite(row).all()):
        return tuple(row[0].tolist())
    if value is not None:
        problems.append(f"white_balance must be three gains above 0, of R, G, B; found {_short(value)}")
    return None


def _size(lens: Mapping[str, Any], key: str, problems: list[str]) -> int | None:
    value = _number(lens, key, 0, math.inf, problems)
    if value is not None and value != round(value):
        problems.append(f"{key} must be a whole number of pixels, found {value}")
        return None
    return None if value is None else round(value)


def _cam_from_world(value: Any, problems: list[str]) -> Tensor | None:
    matrix = _matrix(value, (3, 4), 4)
    if matrix is None:
        problems.append(f"transform_matrix must be 4 rows of 4 numbers (or 3 of 4), found {_short(value)}")
        return None
    if len(matrix) == 3:
        matrix = torch.cat([matrix, matrix.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
    try:
        check_rigid("", "transform_matrix", matrix, _RIGID_TOLERANCE)
    except ShapeError as error:
        problems.append(str(error).removeprefix(": "))
        return None
    return invert_rigid(_nearest_rigid(matrix) @ _OPENGL_FROM_OPENCV)


def _nearest_rigid(matrix: Tensor) -> Tensor:
    """The rigid motion next to `matrix` [4, 4]; removes the rounding of text files."""
    left, _, right = torch.linalg.svd(matrix[:3, :3])
    return make_rigid(left @ right, matrix[:3, 3])


def _matrix(value: Any, n_rows: Sequence[int], n_columns: int) -> Tensor | None:
    """`value` as a float64 matrix with one of these numbers of rows, or None if it is no such thing."""
    if not isinstance(value, list) or len(value) not in n_rows:
        return None
    for row in value:
        if not isinstance(row, list) or len(row) != n_columns:
            return None
        if not all(isinstance(entry, (int, float)) and not isinstance(entry, bool) for entry in row):
            return None
    return torch.tensor(value, dtype=torch.float64)


def _duplicates(frames: Sequence[PosedImage]) -> list[str]:
    first: dict[Path, PosedImage] = {}
    problems = []
    for frame in frames:
        earlier = first.setdefault(frame.image_path.resolve(), frame)
        if earlier is not frame:
            problems.append(f"{frame.place}: the same image as {earlier.place}; remove one of the two")
    return problems


def _short_names(frames: Sequence[PosedImage]) -> list[PosedImage]:
    """The frames named by the stems of their files, or by their paths where stems repeat."""
    stems = [frame.image_path.stem for frame in frames]
    if len(set(stems)) < len(stems):
        stems = [frame.name.removeprefix("./") for frame in frames]
    return [replace(frame, name=stem) for frame, stem in zip(frames, stems, strict=True)]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a JSON text ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: wanted an object with "frames", found {_short(content)}')
    return content


def _short(value: Any) -> str:
    """`value` as JSON, cut where it is long."""
    if value is None:
        return "nothing"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
