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
from diffrender.writers.run.metrics import write_json

# Colours of pixels that are covered less are not known.
LEAST_COVERED = 1 / 255
SPLIT = ("train_filenames", "test_filenames")


def write_capture(
    folder: Path, fitted: Views, heldout: Views | None = None, background: Sequence[float] = (0.0, 0.0, 0.0)
) -> None:
    """Write <folder>/transforms.json of `fitted` and `heldout` views; read again, it gives both, with these cameras.

    It names the photographs that were read, at their full size. A view that no file shows as it is, one that was
    rendered or undistorted, is written to <folder>/images, and its mask to <folder>/masks.
    background: linear RGB behind masked views, which is removed again.
    Raises DataError if a file cannot be written.
    """
    content: dict[str, Any] = {}
    frames: list[dict[str, Any]] = []
    for split, views in zip(SPLIT, (fitted, heldout), strict=True):
        if views is None:
            continue
        of_split = transforms_of(views.cameras, views.names, views.photo_boxes())
        files = views.files or (None,) * len(views)
        own = [
            _write_pictures(folder, frame, views, index, background)
            if each is None
            else _with_files(folder, frame, each)
            for index, (frame, each) in enumerate(zip(of_split["frames"], files, strict=True))
        ]
        content |= {"camera_model": of_split["camera_model"], split: [frame["file_path"] for frame in own]}
        frames += own
    write_json(folder / "transforms.json", content | {"frames": frames})


def _with_files(folder: Path, frame: dict[str, Any], files: ViewFiles) -> dict[str, Any]:
    """Return `frame` in the size of its photograph."""
    x, y = files.width / frame["w"], files.height / frame["h"]
    scaled = {key: frame[key] * scale for key, scale in (("fl_x", x), ("cx", x), ("fl_y", y), ("cy", y))}
    paths = {"file_path": files.image, "mask_path": files.mask, "ignore_path": files.ignore}
    named = {key: _relative(path, folder) for key, path in paths.items() if path is not None}
    return {**frame, **scaled, "w": files.width, "h": files.height, **named}


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
    top, left, height, width = views.photo_boxes()[index]
    rows, columns = slice(top, top + height), slice(left, left + width)
    stem = frame["file_path"].replace("/", "_").replace("\\", "_")
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
    names = {key: f"{part}/{stem}.png" for key, (part, _) in pictures.items()}
    for key, (_, pixels) in pictures.items():
        write_encoded_png(folder / names[key], pixels)
    return {**frame, **names}
