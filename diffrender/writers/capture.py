"""The views of a fit as a capture: transforms.json, which a fit reads again, with the files of its pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffrender.scene.target_views import ViewFiles, Views
from diffrender.writers.cameras import transforms_of
from diffrender.writers.images.png import encode_numbers8, encode_srgb8, write_encoded_png
from diffrender.writers.photograph_lens import lens_entries, lens_of_photograph
from diffrender.writers.photograph_mask import mask_of_photograph
from diffrender.writers.run.metrics import write_json

# Colours of pixels that are covered less are not known.
LEAST_COVERED = 1 / 255
SPLIT = ("train_filenames", "test_filenames")


def write_capture(
    folder: Path,
    fitted: Views,
    heldout: Views | None = None,
    background: Sequence[float] = (0.0, 0.0, 0.0),
    aabb: Sequence[Sequence[float]] | None = None,
    has_own_masks: bool = False,
) -> None:
    """Write <folder>/transforms.json of `fitted` and `heldout` views; read again, it gives both, with these cameras.

    It names the photographs that were read, at their full size and with their lenses, also those that were undistorted
    to be fitted. A view that no file shows, one that was rendered, is written to <folder>/images, and its mask to
    <folder>/masks; so is what a fit was shown of one whose lens has become another than its kind can be.
    background: linear RGB behind masked views, which is removed again. aabb: the box around the object.
    has_own_masks: whether masks are not those of the photographs' files, and are written to <folder>/masks.
    Raises DataError if a file cannot be written.
    """
    content: dict[str, Any] = {} if aabb is None else {"aabb": [list(corner) for corner in aabb]}
    frames: list[dict[str, Any]] = []
    for split, views in zip(SPLIT, (fitted, heldout), strict=True):
        if views is None:
            continue
        of_split = transforms_of(views.cameras, views.names, views.photo_boxes())
        files = views.files or (None,) * len(views)
        own = []
        for index, (frame, each) in enumerate(zip(of_split["frames"], files, strict=True)):
            frame = {"camera_model": of_split["camera_model"], **frame}
            photograph = None if each is None else _with_files(folder, frame, each, views, index)
            if photograph is not None and each is not None and has_own_masks and views.masks is not None:
                photograph["mask_path"] = _write_mask(folder, frame, each, views, index)
            own.append(photograph or _write_pictures(folder, frame, views, index, background))
        content[split] = [frame["file_path"] for frame in own]
        frames += own
    models = {frame["camera_model"] for frame in frames}
    if len(models) == 1:
        frames = [{key: value for key, value in frame.items() if key != "camera_model"} for frame in frames]
        content = {"camera_model": models.pop(), **content}
    write_json(folder / "transforms.json", content | {"frames": frames})


def _with_files(
    folder: Path, frame: dict[str, Any], files: ViewFiles, views: Views, index: int
) -> dict[str, Any] | None:
    """Return `frame` in the size and with the lens of its photograph; None if it is none of that kind any more."""
    x, y = files.width / frame["w"], files.height / frame["h"]
    scaled = {key: frame[key] * scale for key, scale in (("fl_x", x), ("cx", x), ("fl_y", y), ("cy", y))}
    if files.lens is not None:
        top, left, height, width = views.photo_boxes()[index]
        lens = lens_of_photograph(views.cameras.select([index]).to("cpu"), (top, left, height, width), files)
        if lens is None:
            return None
        scaled = lens_entries(lens)
        left_over = views.cameras.projection.parameter_names()
        frame = {key: value for key, value in frame.items() if key not in left_over}
    paths = {"file_path": files.image, "mask_path": files.mask, "ignore_path": files.ignore}
    paths |= {f"{name}_path": path for name, path in files.aovs.items()}
    if files.depth_unit != 1:
        if files.aovs["depth"].suffix.lower() == ".npy":
            # In thousandths of the world's unit, as nerfstudio has them.
            paths["depth_file_path"] = paths.pop("depth_path")
        else:
            scaled["integer_depth_scale"] = files.depth_unit
    named: dict[str, str | None] = {key: _relative(path, folder) for key, path in paths.items() if path is not None}
    if views.masks is None:
        named["mask_path"] = None  # also that a folder of masks beside the photographs was not used
    return {**frame, **scaled, "w": files.width, "h": files.height, **named}


def _write_mask(folder: Path, frame: dict[str, Any], files: ViewFiles, views: Views, index: int) -> str:
    """Write the mask of a photograph that was found in it; returns the name of its file."""
    assert views.masks is not None
    rows, columns = _photo_part(views, index)
    name = f"masks/{_stem(frame)}.png"
    write_encoded_png(
        folder / name, encode_numbers8(mask_of_photograph(views.masks[index, rows, columns].cpu(), files))
    )
    return name


def _photo_part(views: Views, index: int) -> tuple[slice, slice]:
    """Return the rows and columns of a photograph in its image."""
    top, left, height, width = views.photo_boxes()[index]
    return slice(top, top + height), slice(left, left + width)


def _stem(frame: dict[str, Any]) -> str:
    """Return the name of a file that belongs to a view."""
    return frame["file_path"].replace("/", "_").replace("\\", "_")


def _relative(path: Path, folder: Path) -> str:
    """Return `path` from `folder`, so that photographs and runs can be moved together; in full on another drive."""
    path = path.resolve()
    try:
        return os.path.relpath(path, folder.resolve())
    except ValueError:
        return str(path)


def _write_pictures(
    folder: Path, frame: dict[str, Any], views: Views, index: int, background: Sequence[float]
) -> dict[str, Any]:
    """Write what a fit was shown of a view; returns `frame` with the names of the files."""
    rows, columns = _photo_part(views, index)
    image = views.images[index, rows, columns]
    pictures: dict[str, tuple[str, np.ndarray]] = {}
    if views.masks is not None:
        covered = views.masks[index, rows, columns, None]
        # Whoever reads it puts a background behind its mask again.
        image = (image - image.new_tensor(background) * (1 - covered)) / covered.clamp_min(LEAST_COVERED)
        pictures["mask_path"] = ("masks", encode_numbers8(views.masks[index, rows, columns]))
    if views.weights is not None:
        pictures["ignore_path"] = ("ignored", encode_numbers8(1 - views.weights[index, rows, columns]))
    pictures["file_path"] = ("images", encode_srgb8(image))
    names = {key: f"{part}/{_stem(frame)}.png" for key, (part, _) in pictures.items()}
    for key, (_, pixels) in pictures.items():
        write_encoded_png(folder / names[key], pixels)
    return {**frame, **names}
