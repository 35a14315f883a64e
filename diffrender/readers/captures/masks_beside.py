"""Folders of masks beside photographs, of captures that name none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffrender.readers.captures.ignored import picture_of
from diffrender.readers.captures.picture_files import PictureFolder
from diffrender.readers.captures.posed_image import PosedImage

FOLDERS = ("masks", "mask")


def with_masks_beside(source: Path, frames: list[PosedImage], notes: list[str]) -> list[PosedImage]:
    """Return the frames with the masks in a folder that is called as such, if it has one for each of them.

    It is beside the photographs or above them, but not outside of the folder of the capture, `source`. Unchanged if any
    frame has a mask already; notes: gets what was taken, or why nothing was.
    """
    if not frames or any(frame.mask_path is not None for frame in frames):
        return frames
    files = [Path(os.path.abspath(frame.image_path)) for frame in frames]
    folder = next((place for place in _places(Path(os.path.abspath(source)), files[0]) if place.is_dir()), None)
    if folder is None:
        return frames
    pictures = PictureFolder(folder)
    found = [picture_of(file, pictures, frozenset(files)) for file in files]
    lost = [file.name for file, mask in zip(files, found, strict=True) if mask is None]
    twice = next((mask for mask in found if mask is not None and found.count(mask) > 1), None)
    if lost or twice is not None:
        why = f"several images have the mask {twice.name}" if twice is not None else f"it has none of {lost[0]}"
        notes.append(f"masks in its folder {folder.name} are not used: {why}")
        return frames
    notes.append(
        f"its {len(frames)} masks are those in its folder {folder.name}, white for the object;"
        " `targets: {masks: false}` does without"
    )
    return [replace(frame, mask_path=each) for frame, each in zip(frames, found, strict=True)]


def _places(source: Path, image: Path) -> Sequence[Path]:
    """Return where a folder of masks may be, the nearest to the image first."""
    inner, shrunk = image.parent, ""
    above = [inner]
    if image.is_relative_to(source.parent):
        above += [parent for parent in inner.parents if parent.is_relative_to(source.parent)]
    elif inner.name.startswith("images"):
        above.append(inner.parent)
    if inner.name.startswith("images_"):
        shrunk = inner.name.removeprefix("images")
    names = [f"{name}{shrunk}" for name in FOLDERS] + list(FOLDERS if shrunk else ())
    return [folder / name for folder in above for name in names]
