"""Images and masks from files: PNG, JPEG, WebP and whatever else Pillow opens; deeper ones through OpenImageIO."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb, srgb_from_linear
from diffrender.readers.images.hdr import LINEAR_SUFFIXES, read_hdr_image
from diffrender.readers.images.image_data import ImageData

if TYPE_CHECKING:
    from PIL import Image

_EXIF_ORIENTATION = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_image(path: str | Path) -> ImageData:
    """The colours (linear) and the transparency of an image file.

    Files of 8 and 16 bits a channel are sRGB; OpenEXR and Radiance HDR files are linear and keep values above 1. Gray,
    palette and transparent files of every kind are understood. Raises DataError, naming the file, where it is missing,
    damaged, or marked by its camera to be turned, and where a deep file needs OpenImageIO and it is not installed.
    """
    path = _existing_file(Path(path))
    return read_hdr_image(path) if _is_deep(path) else image_from_pillow(_open(path))


def read_mask(path: str | Path) -> Tensor:
    """[H, W] float32 in 0..1 from a mask file: black is 0 and white is 1.

    Colour files count by their brightness; files with a transparency that says something count by that.
    Raises DataError as `read_image` does.
    """
    path = _existing_file(Path(path))
    if _is_deep(path):
        return _deep_mask(path)
    picture = _open(path)
    if _has_alpha(picture):
        alpha = np.asarray(picture.convert("RGBA"))[:, :, 3]
        if alpha.min() < 255:
            return torch.from_numpy(alpha.astype(np.float32) / 255)
    gray = np.asarray(picture.convert("RGB").convert("L"))
    return torch.from_numpy(gray.astype(np.float32) / 255)


def _deep_mask(path: Path) -> Tensor:
    image = read_hdr_image(path)
    if image.alpha is not None and float(image.alpha.min()) < 1:
        return image.alpha
    # Whole numbers were taken for sRGB, but in a mask they count as they are.
    rgb = image.rgb if path.suffix.lower() in LINEAR_SUFFIXES else srgb_from_linear(image.rgb)
    return rgb.mean(2).clamp(0, 1)


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

    try:
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


def _is_deep(path: Path) -> bool:
    """Whether the file has more than 8 bits a channel: Pillow reads 16-bit colour PNGs as 8 bits without a word."""
    suffix = path.suffix.lower()
    if suffix in LINEAR_SUFFIXES:
        return True
    if suffix in (".tif", ".tiff"):
        return _tiff_is_deep(path)
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(_PNG_SIGNATURE) and len(header) == 26 and header[24] == 16


def _tiff_is_deep(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.mode.startswith(("I", "F"))
    except UnidentifiedImageError:
        return True  # 16-bit colours, which Pillow does not know
    except Exception:  # damaged: whoever reads it next says how
        return False


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        what = "is a folder, not an image file" if path.is_dir() else "does not exist; check the path"
        raise DataError(f"{path}: {what}")
    return path
