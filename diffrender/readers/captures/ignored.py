"""Pictures of what to ignore in the images of a capture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.captures.capture import describe_path
from diffrender.readers.captures.picture_files import PictureFolder, some
from diffrender.readers.captures.sized_masks import read_mask_of_image


def read_weights(paths: Sequence[Path], height: int, width: int) -> Tensor | None:
    """Return how much of each pixel of an image is known [H, W]: all that is not white in any of the pictures `paths`.

    None if there are no pictures. Raises DataError for pictures of another shape, if nothing is left, and for one whose
    white is 1 of 255.
    """
    weights = None
    for path in paths:
        ignored, _ = read_mask_of_image(path, height, width, "the picture of what to ignore")
        if 0 < float(ignored.max()) * 255 < 1.001:
            raise DataError(f"{path}: holds 0 and 1 of 255 only; what to ignore must be white: multiply it by 255")
        weights = 1 - ignored if weights is None else weights * (1 - ignored)
    if weights is not None and not bool(weights.any()):
        raise DataError(
            f"{paths[-1]}: nothing of its image is left: all is ignored (white is ignored, black counts); invert the"
            " picture, or remove this frame"
        )
    return weights


def find_ignored(folder: Path, images: Sequence[Path], notes: list[str]) -> list[tuple[Path, ...]]:
    """Return the picture in `folder` that goes with each image, if there is one; adds to `notes`.

    images: all of a capture, also those held out. A picture has the image's path from any of its folders on, at best
        the longest: train/0001.png, or else 0001.png, whatever its suffix, or with another one (0001.jpg.png).
    Raises DataError if no image has a picture, or one picture goes with several images.
    """
    if not folder.is_dir():
        raise DataError(f"targets.ignore: {folder}: {describe_path(folder)}; it must be a folder of pictures")
    pictures = PictureFolder(Path(os.path.abspath(folder)))
    files = [Path(os.path.abspath(image)) for image in images]
    found = [picture_of(file, pictures, frozenset(files)) for file in files]
    users: dict[Path, list[Path]] = {}
    for file, picture in zip(files, found, strict=True):
        if picture is not None and file not in users.setdefault(picture, []):
            users[picture].append(file)
    shared = next((picture for picture, of in users.items() if len(of) > 1), None)
    if shared is not None:
        raise DataError(
            f"targets.ignore: {shared}: is named as {len(users[shared])} images: {some(list(map(str, users[shared])))};"
            f" put a picture for each into sub-folders named as theirs, such as {users[shared][0].parent.name}"
        )
    missing = [f"{file.parent.name}/{file.name}" for file, picture in zip(files, found, strict=True) if picture is None]
    if len(missing) == len(files):
        raise DataError(
            f"targets.ignore: {folder}: {describe_path(folder)}; none of them is named as an image, such as"
            f" {files[0].stem}.png"
        )
    if missing:
        notes.append(
            f"{len(missing)} of its {len(files)} images have no picture in {folder.name} of what to ignore:"
            f" {some(missing)}"
        )
    return [() if picture is None else (picture,) for picture in found]


def picture_of(image: Path, pictures: PictureFolder, images: frozenset[Path]) -> Path | None:
    """Return the picture with the longest part of the image's path that is not an image itself."""
    parts = image.parts[1:]
    found = (pictures.find_companion("/".join(parts[start:])) for start in range(len(parts)))
    return next((picture for picture in found if picture is not None and picture not in images), None)


def describe_ignored(weights: Sequence[Tensor | None]) -> list[str]:
    """Return a note on how much of the images is ignored, if anything is."""
    shares = [1 - float(each.mean()) for each in weights if each is not None]
    ignoring = [share for share in shares if share > 0]
    if not ignoring:
        return []
    mean = sum(ignoring) / len(ignoring)
    return [f"parts of {len(ignoring)} of its {len(weights)} images are ignored, {mean:.1%} of each on average"]
