"""Images from files: PNG, JPEG, WebP and whatever else Pillow opens; those of more than 8 bits by OpenImageIO."""

from __future__ import annotations

import os
import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import as_path
from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.images.high_bit_depth import has_high_bit_depth, read_hdr_image
from diffrender.readers.images.image_data import ImageData
from diffrender.readers.stand_ins import HEAD, stand_in

if TYPE_CHECKING:
    from PIL import Image

_EXIF_ORIENTATION = 0x0112
# The most that PNG's compression makes of a byte, and the least bits per pixel by Pillow's mode, if not 1.
_MOST_BYTES_PER_BYTE = 1032
_LEAST_BITS = {"RGB": 24, "RGBA": 32, "LA": 16}


def read_image(path: str | Path, turn: bool | None = None) -> ImageData:
    """Read an image file as linear colours and transparency.

    path: a file of any format that Pillow opens, of 8 bits per channel, or OpenEXR, Radiance HDR, or PNG or TIFF with
        more bits, which need the package OpenImageIO. Gray, palette and transparent files of every kind are
        understood.
    turn: whether the pixels of a photograph that its camera marks to be turned are turned, or taken as they are stored;
        None refuses such a file.

    Returns ImageData: `rgb` [H, W, 3] float32 in linear light, row 0 at the top, and `alpha` [H, W] in 0..1, or None
    if the file has no transparency. Integer files are decoded from sRGB; OpenEXR and Radiance HDR files are linear, and
    values above 1 are kept. Colours are not multiplied by alpha.

    Raises DataError, with the file's name, if it is missing, damaged, marked by its camera to be turned, or if
    OpenImageIO is needed and not installed.

        rgb, alpha = read_image("photo.png")
    """
    path = existing_file(as_path("read_image", "path", path))
    return read_hdr_image(path) if has_high_bit_depth(path) else image_from_pillow(open_picture(path, turn))


def image_from_pillow(picture: Image.Image) -> ImageData:
    """Convert a Pillow image of 8 bits per channel to linear colours and transparency."""
    if not has_alpha(picture):
        return ImageData(_linear_from_bytes(np.asarray(picture.convert("RGB"))), None)
    values = np.asarray(picture.convert("RGBA"))
    alpha = torch.from_numpy(values[:, :, 3].astype(np.float32) / 255)
    return ImageData(_linear_from_bytes(values[:, :, :3]), alpha)


def to_8_bits(picture: Image.Image) -> Image.Image:
    """Return a gray picture of 16 bits with 8, to which Pillow itself reduces colours; any other as it is."""
    if not picture.mode.startswith("I"):
        return picture
    from PIL import Image

    return Image.fromarray((np.asarray(picture) / 257).round().clip(0, 255).astype(np.uint8))


def has_alpha(picture: Image.Image) -> bool:
    """Return whether a Pillow image has transparency, as a channel or as a colour."""
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _linear_from_bytes(values: np.ndarray) -> Tensor:
    return torch.from_numpy(_linear_of_byte()[values])


@cache
def _linear_of_byte() -> np.ndarray:
    """Return [256]: the linear value of each sRGB byte; a table is exact and far faster than a power per pixel."""
    return linear_from_srgb(torch.arange(256, dtype=torch.float64) / 255).float().numpy()


def decode_picture(file: Path | BytesIO, name: str) -> Image.Image:
    """Decode an image with Pillow. Raises DataError, with `name`, if it is damaged or in an unknown format."""
    from PIL import Image

    try:
        with Image.open(file) as opened:
            _check_size(opened, file.stat().st_size if isinstance(file, Path) else len(file.getvalue()), name)
            opened.load()
            return opened.copy()
    except Image.UnidentifiedImageError:
        raise DataError(f"{name}: is not an image in a known format; save it as PNG or JPEG") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        MemoryError,
        Image.DecompressionBombError,
    ) as error:
        # What Pillow's decoders raise on damaged files: see the corruptions in the tests.
        raise DataError(f"{name}: cannot be read as an image ({error}); replace or re-export the file") from error


def _check_size(picture: Image.Image, n_bytes: int, name: str) -> None:
    """Raise DataError if a PNG that is not decoded yet claims more pixels than `n_bytes` can hold."""
    n_bits = picture.width * picture.height * _LEAST_BITS.get(picture.mode, 1)
    if picture.format == "PNG" and n_bits > 8 * _MOST_BYTES_PER_BYTE * n_bytes:
        size = f"{picture.width} x {picture.height}"
        raise DataError(
            f"{name}: says {size} pixels, which its {n_bytes} bytes cannot hold; replace or re-export the file"
        )


def stored_and_turned_size(path: Path) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return (width, height) of an image as it is stored and as its camera marks it to be turned, without decoding it.

    None if Pillow does not know the file, or it is damaged: reading it will say how.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            # From 5 on, width and height are exchanged.
            is_on_its_side = picture.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    except Exception:
        return None
    return (width, height), (height, width) if is_on_its_side else (width, height)


def is_marked_to_be_turned(path: Path) -> bool:
    """Return whether the camera marks an image to be turned or mirrored; not if Pillow does not know the file."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return _is_marked(picture)
    except Exception:
        return False


def _is_marked(picture: Image.Image) -> bool:
    return picture.getexif().get(_EXIF_ORIENTATION) not in (None, 0, 1)


def open_picture(path: Path, turn: bool | None = None) -> Image.Image:
    """Decode an image file of 8 bits per channel whose pixels are stored upright, or of which `turn` says what to do.

    Raises DataError for any other.
    """
    picture = decode_picture(path, str(path))
    if picture.mode.startswith(("I", "F")):
        raise DataError(f"{path}: has more than 8 bits per channel (Pillow mode {picture.mode}); save it with 8 bits")
    if turn is not False and _is_marked(picture):
        if turn:
            from PIL import ImageOps

            return ImageOps.exif_transpose(picture)
        raise DataError(
            f"{path}: has an EXIF orientation, which some programs apply and others ignore, so its pixels may not match"
            " the camera; rotate the pixels and remove the tag (mogrify -auto-orient), or state their width and height"
            " if these tell which is meant"
        )
    return picture


def existing_file(path: Path) -> Path:
    """Return `path`. Raises DataError if it is not a file, or one that was never fetched (`stand_in`)."""
    if not os.path.isfile(path):  # False also for what cannot be a name
        what = "is a folder, not an image file" if os.path.isdir(path) else "does not exist; check the path"
        raise DataError(f"{path}: {what}")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if instead := stand_in(head):
        raise DataError(f"{path}: {instead}")
    return path
