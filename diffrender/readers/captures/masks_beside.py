"""Folders of masks beside photographs, of captures that name none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from diffrender.errors import DataError
from diffrender.readers.captures.ignored import picture_of
from diffrender.readers.captures.picture_files import PictureFolder
from diffrender.readers.captures.posed_image import PosedImage
from diffrender.readers.images.masks import read_mask

FOLDERS = ("masks", "mask")
# Of a few masks that are looked at: more is not an object before its surroundings.
MOST_READ, MOSTLY_WHITE = 4, 0.6


def with_masks_beside(source: Path, frames: list[PosedImage], skip_missing: bool, notes: list[str]) -> list[PosedImage]:
    """Return the frames with the masks in a folder that is called as such, if it has one for each of them.

    It is beside the photographs or above them, but not outside of the folder of the capture, `source`. Unchanged if any
    frame has a mask already. skip_missing: whether a part of the masks is enough. notes: gets what was taken, or why
    nothing was.
    """
    if not frames or any(frame.mask_path is not None for frame in frames):
        return frames
    files = [Path(os.path.abspath(frame.image_path)) for frame in frames]
    folder = next(iter(_folders(Path(os.path.abspath(source)), files[0])), None)
    if folder is None:
        return frames
    pictures = PictureFolder(folder)
    found = [picture_of(file, pictures, frozenset(files)) for file in files]
    lost = [file.name for file, mask in zip(files, found, strict=True) if mask is None]
    twice = next((mask for mask in found if mask is not None and found.count(mask) > 1), None)
    known = [mask for mask in found if mask is not None]
    why = None
    if twice is not None:
        why = f"several images have the mask {twice.name}"
    elif lost and (not known or not skip_missing):
        why = f"it has none of {lost[0]}" + ("; `missing: skip` leaves such images out" if known else "")
    elif all(map(_marks_surroundings, known[:: max(1, len(known) // MOST_READ)])):
        why = "they are white almost everywhere, as of what to keep; what to leave out is white in `targets.ignore`"
    if why is not None:
        notes.append(f"masks in its folder {folder.name} are not used: {why}")
        return frames
    notes.append(
        f"its {len(known)} masks are those in its folder {folder.name}, white for the object;"
        " `targets: {masks: false}` does without"
    )
    return [replace(frame, mask_path=each) for frame, each in zip(frames, found, strict=True)]


def _marks_surroundings(path: Path) -> bool:
    """Return whether a mask is white in most of its picture, and at its border."""
    try:
        mask = read_mask(path)
    except DataError:  # reading the frame says so
        return False
    border = torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(mask.mean()) > MOSTLY_WHITE and float(border.mean()) > MOSTLY_WHITE


def _folders(source: Path, image: Path) -> Iterator[Path]:
    """Yield the folders of masks, whatever the case of their names, the nearest to the image first."""
    inner, shrunk = image.parent, ""
    above = [inner]
    if image.is_relative_to(source.parent):
        above += [parent for parent in inner.parents if parent.is_relative_to(source.parent)]
    elif inner.name.startswith("images"):
        above.append(inner.parent)
    if inner.name.startswith("images_"):
        shrunk = inner.name.removeprefix("images")
    names = [f"{name}{shrunk}" for name in FOLDERS] + list(FOLDERS if shrunk else ())
    for folder in above:
        inside = [entry for entry in sorted(folder.iterdir()) if entry.name.lower() in names and entry.is_dir()]
        yield from sorted(inside, key=lambda entry: names.index(entry.name.lower()))
