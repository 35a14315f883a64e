"""Pictures of what to ignore in the images of a capture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.captures.capture import describe_path
from diffrender.readers.images.masks import read_mask

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr")


def read_weights(paths: Sequence[Path], height: int, width: int) -> Tensor | None:
    """Return how much of each pixel of an image is known [H, W]: all that is not white in any of the pictures `paths`.

    None if there are no pictures. Raises DataError for pictures of another size, if nothing is left, and for one whose
    white is 1 of 255.
    """
    weights = None
    for path in paths:
        ignored = read_mask(path)
        if ignored.shape != (height, width):
            raise DataError(
                f"{path}: is {ignored.shape[1]} x {ignored.shape[0]} (width x height), but its image is {width} x"
                f" {height}; a picture of what to ignore must have one pixel for each of the image"
            )
        if round(float(ignored.max()) * 255, 3) == 1:
            raise DataError(f"{path}: holds 0 and 1 of 255 only; what to ignore must be white: multiply it by 255")
        weights = 1 - ignored if weights is None else weights * (1 - ignored)
    if weights is not None and not bool(weights.any()):
        raise DataError(
            f"{paths[-1]}: nothing of its image is left: all is ignored (white is ignored, black counts); invert the"
            " picture, or remove this frame"
        )
    return weights


def find_ignored(folder: Path, images: Sequence[tuple[str, Path]], notes: list[str]) -> list[tuple[Path, ...]]:
    """Return the picture in `folder` that is named as each image, of (name, file), if there is one; adds to `notes`.

    The name of a picture is that of the image, whatever its suffix, or with another suffix after it (0001.jpg.png).
    Raises DataError if no image has a picture.
    """
    if not folder.is_dir():
        raise DataError(f"targets.ignore: {folder}: {describe_path(folder)}; it must be a folder of pictures")
    found: list[tuple[Path, ...]] = []
    for name, file in images:
        stems = dict.fromkeys(str(Path(name).with_name(each)) for each in (file.name, file.stem))
        candidates = [folder / (stem + suffix) for stem in stems for suffix in ("", *SUFFIXES)]
        found.append(tuple(path for path in candidates if path.is_file())[:1])
    missing = [name for (name, _), paths in zip(images, found, strict=True) if not paths]
    if len(missing) == len(images):
        raise DataError(
            f"targets.ignore: {folder}: {describe_path(folder)}; none of them is named as an image, such as"
            f" {images[0][1].stem}.png"
        )
    if missing:
        listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        notes.append(
            f"{len(missing)} of its {len(images)} images have no picture in {folder.name} of what to ignore: {listed}"
        )
    return found


def describe_ignored(weights: Sequence[Tensor | None]) -> list[str]:
    """Return a note on how much of the images is ignored, if anything is."""
    shares = [1 - float(each.mean()) for each in weights if each is not None]
    ignoring = [share for share in shares if share > 0]
    if not ignoring:
        return []
    mean = sum(ignoring) / len(ignoring)
    return [f"parts of {len(ignoring)} of its {len(weights)} images are ignored, {mean:.1%} of each on average"]
