"""Captures described by a transforms.json, in the dialects of NeRF-synthetic and of nerfstudio / instant-ngp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffrender.checks import as_path
from diffrender.errors import DataError
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader, describe_path
from diffrender.readers.captures.json_values import matrix_of, read_json, shorten
from diffrender.readers.captures.lens_doubts import doubt_lenses
from diffrender.readers.captures.normal_depth import is_depth_picture
from diffrender.readers.captures.picture_files import real_path, some
from diffrender.readers.captures.posed_capture import (
    check_resolution,
    frames_of,
    notes_on_origin,
    read_views,
    usable_frames,
    with_ignored,
)
from diffrender.readers.captures.posed_image import PosedImage, far_origin, move_frames
from diffrender.readers.captures.poses import note_rounding
from diffrender.readers.captures.problems import problems_error
from diffrender.readers.captures.transforms_frame import (
    NERFSTUDIO_DEPTH,
    NGP_DEPTH_UNIT,
    image_of,
    posed_image,
)
from diffrender.readers.captures.transforms_keys import about_keys
from diffrender.scene.target_views import Views

TRAIN, TEST = "transforms_train.json", "transforms_test.json"
CONTENT = '"frames"'
FILE_NAMES = ("transforms.json", TRAIN)


def read_transforms(path: str | Path, options: CaptureOptions | None = None) -> Views:
    """Read the images, masks and cameras of a capture, in the order of the file's frames.

    path: the JSON file, or a folder with transforms.json or transforms_train.json.
    options: resolution, background, masks and AOVs; if omitted, those of CaptureOptions().

    Returns Views: images [N, H, W, 3] in linear RGB over the background, cameras with pixel centres at +0.5, and masks
    [N, H, W] from mask files and transparency, if there are any.

    The file holds "frames". Each has `file_path` (relative to the JSON; the suffix may be missing), `transform_matrix`
    (camera to world, OpenGL axes: x right, y up, looking along -z) and, optionally, `mask_path`, `ignore_path` (white
    where the image shows nothing of the scene), `normal_path` (.npy, [H, W, 3] world normals) and `depth_path` (.npy,
    [H, W] camera depth in world units; 0 or NaN if unknown; or PNG of 16 bits in units of instant-ngp's
    `integer_depth_scale`) or nerfstudio's `depth_file_path` (PNG of 16 bits or .npy, in thousandths of the world's
    unit). Per frame or once for all: `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h` in pixels, or `camera_angle_x`,
    `camera_angle_y` in radians. `camera_model` is a name in scene.projections.PROJECTIONS, whose parameters are beside
    the focal lengths; with "ORTHOGRAPHIC", `fl_x` and `fl_y` are pixels per world unit; or one of
    CAMERA_MODELS with its coefficients, `k1`, `p1` and so on: distorted images are undistorted.
    `is_fisheye` means OPENCV_FISHEYE. A frame may have its `exposure`, -20..20 stops, and its `white_balance`, gains of
    R, G and B above 0, `vignetting` and `response` (see scene.cameras; r = 1 in the corners of the
    photograph), and its `time`, in seconds or as the capture counts it.

    Raises one DataError with everything that is wrong, each entry with its frame, the value and what it must be.

        views = read_transforms("photos", CaptureOptions(resolution=400))
    """
    options = options or CaptureOptions()
    path = find_transforms(path)
    return read_views(path, with_ignored(_frames(path, read_json(path, CONTENT), options, []), options, []), options)


def _frames(path: Path, content: Mapping[str, Any], options: CaptureOptions, notes: list[str]) -> list[PosedImage]:
    """Return the frames of the file `path`, checked but for their images; adds to `notes`. Raises DataError."""
    check_resolution(path, options)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(
            f'{path}: "frames" must be a list with at least one frame, got {shorten(frames)}; export them anew'
        )
    problems: list[str] = []
    read = [posed_image(path, content, index, frame, problems) for index, frame in enumerate(frames)]
    posed = [frame for frame in read if frame is not None]
    problems += _duplicates(posed)
    if problems:
        raise problems_error(path, problems, len(frames))
    notes += about_keys(content)
    matrices = [torch.tensor(frame["transform_matrix"], dtype=torch.float64) for frame in frames]
    notes += note_rounding(matrices, "transform matrices")
    if "depth" in options.aovs:
        notes += _about_depths(content, posed)
    # Also null: the capture is one without masks.
    names_masks = any("mask_path" in frame for frame in frames)
    return usable_frames(path, posed, options, notes, names_masks)


def _about_depths(content: Mapping[str, Any], posed: Sequence[PosedImage]) -> list[str]:
    """Return notes on units of depth that the file does not state."""
    of_nerfstudio = [
        frame.get("depth_path") is None and frame.get(NERFSTUDIO_DEPTH) is not None for frame in content["frames"]
    ]
    if any(of_nerfstudio):
        return ["its depth_file_path are in thousandths of the world's unit, as nerfstudio has them"]
    pictures = [frame for frame in posed if "depth" in frame.aov_paths and is_depth_picture(frame.aov_paths["depth"])]
    if not pictures or any(frame.get(NGP_DEPTH_UNIT) is not None for frame in (content, *content["frames"])):
        return []
    count = f"its {len(pictures)} pictures of depth"
    return [f"{count} are taken in whole units of the world; if they are not, state {NGP_DEPTH_UNIT}"]


def read_aabb(path: str | Path) -> Tensor | None:
    """Read the box around the object that a transforms.json may state as "aabb": [2, 3], its low and high corner."""
    path = find_transforms(path)
    return _aabb(path, read_json(path, CONTENT), (0.0, 0.0, 0.0))


def _aabb(path: Path, content: Mapping[str, Any], origin: tuple[float, float, float]) -> Tensor | None:
    """Return the box relative to `origin`."""
    aabb = content.get("aabb")
    if aabb is None:
        return None
    rows = matrix_of(aabb, (2,), 3)
    if rows is None or not bool(torch.isfinite(rows).all()) or not bool((rows[0] < rows[1]).all()):
        raise DataError(f'{path}: "aabb" must be [[x, y, z], [x, y, z]], the low corner first, got {shorten(aabb)}')
    return (rows - torch.tensor(origin, dtype=torch.float64)).float()


def find_transforms(path: str | Path) -> Path:
    """Return the JSON file that `path` means: itself, or the transforms file of the folder. Raises DataError."""
    path = as_path("read_transforms", "path", path)
    if path.is_file():
        return path
    for name in FILE_NAMES:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: {describe_path(path)}; it must be {READER.accepts}")


def _claims(path: Path) -> bool:
    return path.suffix.lower() == ".json" or any((path / name).is_file() for name in FILE_NAMES)


def _read(path: Path, options: CaptureOptions) -> Capture:
    """Read a capture; it holds out transforms_test.json beside transforms_train.json, or `test_filenames`."""
    file = find_transforms(path)
    content, notes = read_json(file, CONTENT), []
    frames = _frames(file, content, options, notes)
    origin = far_origin(frames)
    if any(origin):
        notes += notes_on_origin(frames, origin)
    heldout_file, heldout, failure = file, [], None
    split = _split_by_names(file, content, frames, notes)
    if split is not None:
        frames, heldout = split
    elif file.name == TRAIN and (other := file.with_name(TEST)).is_file():
        told: list[str] = []
        try:
            heldout_file, heldout = other, _frames(other, read_json(other, CONTENT), options, told)
        except DataError as error:  # which is no obstacle to a fit that holds out others
            failure = error
        notes += [note for note in told if note not in notes]
    everything = with_ignored(move_frames([*frames, *heldout], origin), options, notes)
    fitted, set_apart = everything[: len(frames)], everything[len(frames) :]
    views = read_views(file, fitted, options, notes)
    notes += doubt_lenses(frames_of(views, fitted), views)

    def read_heldout() -> tuple[Views, tuple[str, ...]]:
        if failure is not None:
            raise failure
        told: list[str] = []
        return read_views(heldout_file, set_apart, options, told), tuple(told)

    aabb = _aabb(file, content, origin)
    sets_apart = bool(set_apart) or failure is not None
    holds_out = split is None and not sets_apart
    return Capture(views, holds_out, read_heldout if sets_apart else None, aabb, origin, tuple(notes))


def _split_by_names(
    path: Path, content: Mapping[str, Any], frames: Sequence[PosedImage], notes: list[str]
) -> tuple[list[PosedImage], list[PosedImage]] | None:
    """Return the frames of `train_filenames` and those of `test_filenames` (else `val_filenames`), as nerfstudio does.

    None if the file does not name both, unless all of its frames are named to be fitted. Adds notes on frames that are
    not used or in both, and on names without a frame. Raises DataError if one of the two has no frames.
    """
    heldout = "test_filenames" if content.get("test_filenames") else "val_filenames"
    named = [key for key in ("train_filenames", heldout) if content.get(key)]
    if len(named) < 2:
        if named == ["train_filenames"] and len(content["train_filenames"]) == len(frames):
            return list(frames), []
        notes += [f"its {key} are not used: it does not also say which to hold out or to fit" for key in named]
        return None
    chosen = []
    for key in ("train_filenames", heldout):
        names = content[key]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f'{path}: "{key}" must be a list of paths, got {shorten(names)}')
        files = {real_path(image_of(path.parent, name)) for name in names}
        found = [frame for frame in frames if real_path(frame.image_path) in files]
        if not found:
            raise DataError(f'{path}: "{key}" names none of its frames, for example {names[0]}')
        if len(found) < len(files):
            notes.append(f"{len(files) - len(found)} of its {len(files)} {key} are no frames of it")
        chosen.append(found)
    fitted, held_out = ({frame.image_path for frame in part} for part in chosen)
    in_both = [frame.name for frame in frames if frame.image_path in fitted & held_out]
    if in_both:
        notes.append(f"{len(in_both)} of its frames are both fitted and held out: {some(in_both)}")
    unused = [frame.name for frame in frames if frame.image_path not in fitted | held_out]
    if unused:
        notes.append(f"{len(unused)} of its frames are neither in train_filenames nor in {heldout}: {some(unused)}")
    return chosen[0], chosen[1]


READER = CaptureReader(f"a folder with {' or '.join(FILE_NAMES)}, or such a file", _claims, _read)


def _duplicates(frames: Sequence[PosedImage]) -> list[str]:
    first: dict[Path, PosedImage] = {}
    problems = []
    for frame in frames:
        earlier = first.setdefault(real_path(frame.image_path), frame)
        if earlier is not frame:
            problems.append(f"{frame.place}: the same image as {earlier.place}; remove one of the two")
    return problems
