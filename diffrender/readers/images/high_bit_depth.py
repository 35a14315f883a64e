"""Images of more than 8 bits per channel: OpenEXR, Radiance HDR, 16-bit PNG and TIFF, by OpenImageIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.images.image_data import ImageData

LINEAR_SUFFIXES = (".exr", ".hdr")
"""Formats whose values are linear light, and may exceed 1."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_CHANNELS = (("R", "G", "B"), ("r", "g", "b"), ("Y",), ("y",))


def read_hdr_image(path: Path) -> ImageData:
    """Read an image file of any bit depth as linear colours and transparency.

    Integers (PNG, TIFF) are decoded from sRGB; floats are linear, and values above 1 are kept.
    Raises DataError, with the file's name, if it is damaged, or has no colours or a value that is not finite.
    """
    values, names, is_float = _read(path)
    present = next((channels for channels in _COLOR_CHANNELS if set(channels) <= set(names)), None)
    if present is None:
        raise DataError(f"{path}: has the channels {', '.join(names)}; it must have R, G, B or Y, with or without A")
    color = values[:, :, [names.index(name) for name in present]]
    alpha = next((values[:, :, names.index(name)] for name in ("A", "a") if name in names), None)
    used = color if alpha is None else np.dstack([color, alpha])
    if not np.isfinite(used).all():
        row, column, _ = np.argwhere(~np.isfinite(used))[0].tolist()
        raise DataError(
            f"{path}: the pixel in row {row}, column {column} is {used[row, column].tolist()}; it must be finite"
        )
    rgb = torch.from_numpy(np.broadcast_to(color, (*color.shape[:2], 3)).copy())
    coverage = None if alpha is None else torch.from_numpy(alpha.copy()).clamp(0, 1)
    if not is_float:
        rgb = linear_from_srgb(rgb.double()).float()
    elif coverage is not None:
        # OpenEXR stores colour times alpha.
        rgb = rgb / coverage.where(coverage > 0, 1)[:, :, None]
    return ImageData(rgb, coverage)


def _read(path: Path) -> tuple[np.ndarray, list[str], bool]:
    """Return values [H, W, C] float32, the names of the channels, and whether the file stores floats."""
    oiio = openimageio(path)
    settings = oiio.ImageSpec()
    # OpenImageIO would otherwise multiply the colours of a PNG by alpha.
    settings.attribute("oiio:UnassociatedAlpha", 1)
    file = oiio.ImageInput.open(str(path), settings)
    if file is None:
        raise DataError(f"{path}: cannot be read as an image ({_first_line(oiio.geterror())}); export it again")
    try:
        spec = file.spec()
        if spec.format.basetype in (oiio.UINT32, oiio.INT32, oiio.UINT64, oiio.INT64):
            raise DataError(
                f"{path}: has whole numbers of {8 * spec.format.basesize()} bits, of which nobody knows what is white;"
                " save it with 16"
            )
        values = file.read_image(oiio.FLOAT)
        if values is None:
            raise DataError(f"{path}: cannot be read as an image ({_first_line(file.geterror())}); export it again")
        is_float = spec.format.basetype in (oiio.FLOAT, oiio.HALF, oiio.DOUBLE)
        return values.reshape(spec.height, spec.width, spec.nchannels), list(spec.channelnames), is_float
    finally:
        file.close()


def has_high_bit_depth(path: Path) -> bool:
    """Return whether the file has more than 8 bits per channel, and so must be read by `read_hdr_image`.

    Pillow would silently reduce a 16-bit colour PNG to 8 bits.
    """
    suffix = path.suffix.lower()
    if suffix in LINEAR_SUFFIXES:
        return True
    if suffix in (".tif", ".tiff"):
        return _tiff_has_high_bit_depth(path)
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(_PNG_SIGNATURE) and len(header) == 26 and header[24] == 16


def _tiff_has_high_bit_depth(path: Path) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.mode.startswith(("I", "F"))
    except UnidentifiedImageError:
        return True  # 16-bit colours, which Pillow does not know
    except Exception:  # damaged: reading it will say how
        return False


def openimageio(path: Path) -> Any:
    """Import OpenImageIO. Raises DataError, saying that `path` needs it, if it is not installed."""
    try:
        import OpenImageIO
    except ImportError:
        raise DataError(
            f"{path}: this kind of image needs the package OpenImageIO; run `pip install OpenImageIO`"
        ) from None
    return OpenImageIO


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0] or "damaged or not an image"
