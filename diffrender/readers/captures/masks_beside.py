"""Folders of masks beside photographs, of captures that name none."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from diffrender.readers.captures.ignored import picture_of
from diffrender.readers.captures.picture_files import PictureFolder
from diffrender.readers.captures.posed_image import PosedImage

FOLDERS = ("masks", "mask")


def with_masks_beside(frames: list[PosedImage], notes: list[str]) -> list[PosedImage]:
    """Return the frames with the masks in a folder that is called as such, beside the photographs or their folder.

    Unchanged if any frame has a mask already; notes: gets what was taken, or why nothing was.
    """
    if not frames or any(frame.mask_path is not None for frame in frames):
        return frames
    beside = frames[0].image_path.parent
    shrunk = beside.name.removeprefix("images") if beside.name.startswith("images_") else ""
    names = [f"{name}{shrunk}" for name in FOLDERS] + list(FOLDERS if shrunk else ())
    places = [place / name for name in names for place in (beside, beside.parent)]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        return frames
    files = [Path(os.path.abspath(frame.image_path)) for frame in frames]
    pictures = PictureFolder(Path(os.path.abspath(folder)))
    found = [picture_of(file, pictures, frozenset(files)) for file in files]
    known = [each for each in found if each is not None]
    if not known or len(set(known)) < len(known):
        why = f"several images have the mask {known[0].name}" if known else f"no file is named as {files[0].name} is"
        notes.append(f"its folder {folder.name} is not read: {why}")
        return frames
    notes.append(
        f"masks of {len(known)} of its {len(frames)} images are those in its folder {folder.name}, white for the"
        " object; `targets: {masks: false}` does without"
    )
    return [replace(frame, mask_path=each) for frame, each in zip(frames, found, strict=True)]
