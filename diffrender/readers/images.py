"""Images and masks from 8-bit files: PNG, JPEG, WebP and whatever else Pillow opens."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb

if TYPE_CHECKING:
    from PIL import Image

_EXIF_ORIENTATION = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ImageData(NamedTuple):
    """One image.

    rgb: [H, W, 3] float32, linear, not multiplied by alpha.
    alpha: [H, W] float32 in 0..1, or None where the file has none.
    """

    rgb: Tensor
    alpha: Tensor | None


def read_image(path: str | Path) -> ImageData:
    """The colours (linear) and the transparency of an sRGB image file of 8 bits a channel.

    Gray, palette and transparent files of every kind are understood. Raises DataError, naming the file, where it is
    missing, damaged, deeper than 8 bits, or marked by its camera to be turned.
    """
    return image_from_pillow(_open(Path(path)))


def read_mask(path: str | Path) -> Tensor:
    """[H, W] float32 in 0..1 from a mask file: black is 0 and white is 1.

    Colour files count by their brightness; files with a transparency that says something count by that.
    Raises DataError as `read_image` does.
    """
    picture = _open(Path(path))
    if _has_alpha(picture):
        alpha = np.asarray(picture.convert("RGBA"))[:, :, 3]
        if alpha.min() < 255:
            return torch.from_numpy(alpha.astype(np.float32) / 255)
    gray = np.asarray(picture.convert("RGB").convert("L"))
    return torch.from_numpy(gray.astype(np.float32) / 255)


def image_from_pillow(picture: Image.Image) -> ImageData:
    """The colours (linear) and the transparency of a Pillow image of 8 bits a channel."""
    if not _has_alpha(picture):
        return ImageData(_linear_from_bytes(np.asarray(picture.convert("RGB"))), None)
    values = np.asarray(picture.convert("RGBA"))
    alpha = torch.from_numpy(values[:, :, 3].astype(np.float32) / 255)
    return ImageData(_linear_from_bytes(values[:, :, :3]), alpha)


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info


def _linear_from_bytes(values: np.ndarray) -> Tensor:
    return torch.from_numpy(_linear_of_byte()[values])


@cache
def _linear_of_byte() -> np.ndarray:
    """[256]: the linear value of each sRGB byte; a table is exact and far faster than a power a pixel."""
    return linear_from_srgb(torch.arange(256, dtype=torch.float64) / 255).float().numpy()


def _open(path: Path) -> Image.Image:
    """The decoded picture, or a DataError that says what is wrong with the file."""
    from PIL import Image

    if not path.is_file():
        what = "is a folder, not an image file" if path.is_dir() else "does not exist; check the path"
        raise DataError(f"{path}: {what}")
    try:
        _refuse_deep_png(path)
        with Image.open(path) as file:
            file.load()
            picture = file.copy()
    except Image.UnidentifiedImageError:
        raise DataError(f"{path}: is not an image in a known format; save it as PNG or JPEG") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        # What Pillow's decoders raise on damaged files: see the corruptions in the tests.
        raise DataError(f"{path}: cannot be read as an image ({error}); replace or re-export the file") from error
    if picture.mode.startswith(("I", "F")):
        raise DataError(f"{path}: has more than 8 bits a channel (Pillow mode {picture.mode}); save it with 8 bits")
    if picture.getexif().get(_EXIF_ORIENTATION) not in (None, 0, 1):
        raise DataError(
            f"{path}: carries an EXIF orientation, which programs apply or ignore as they like, so its pixels need"
            " not match the camera; turn the pixels for good and remove the tag (mogrify -auto-orient)"
        )
    return picture


def _refuse_deep_png(path: Path) -> None:
    """Pillow reads 16-bit colour PNGs as 8 bits without a word; look at the header's depth instead."""
    with path.open("rb") as file:
        header = file.read(26)
    if header.startswith(_PNG_SIGNATURE) and len(header) == 26 and header[24] == 16:
        raise DataError(f"{path}: has 16 bits a channel, wanted 8; save it as an 8-bit PNG")
