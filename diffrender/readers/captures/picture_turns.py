"""Photographs that their cameras mark to be turned (EXIF), where the size of the right pixels is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from diffrender.readers.images.image import stored_and_turned_size


def choose_turn(file: Path, fits: Callable[[int, int], bool]) -> tuple[bool | None, tuple[int, int] | None]:
    """Return whether a photograph is to be turned so that its size `fits` (width, height), and that size.

    As it is stored comes first: COLMAP, from which nearly all poses come, ignores the mark. If neither fits: None and
    the size as stored. If the file is missing, or no picture that Pillow knows: None and None; reading it says why.
    """
    sizes = stored_and_turned_size(file) if os.path.isfile(file) else None
    if sizes is None:
        return None, None
    for turn, size in zip((False, True), sizes, strict=True):
        if fits(*size):
            return turn, size
    return None, sizes[0]


def turn_told_by_size(file: Path, width: int | None, height: int | None) -> bool | None:
    """Return whether a photograph is to be turned, if the size that it should have tells: a mark may exchange sides."""
    sizes = stored_and_turned_size(file) if os.path.isfile(file) else None
    if sizes is None or sizes[0] == sizes[1] or (width, height) not in sizes:
        return None
    return (width, height) == sizes[1]
