"""Images of more than 8 bits a channel: OpenEXR, Radiance HDR, 16-bit PNG and TIFF. By OpenImageIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.images.image_data import ImageData

LINEAR_SUFFIXES = (".exr", ".hdr")
"""Formats whose numbers are linear light, and may exceed 1."""

_COLOR_CHANNELS = (("R", "G", "B"), ("r", "g", "b"), ("Y",), ("y",))


def read_hdr_image(path: Path) -> ImageData:
    """The colours (linear) and the transparency of an image file of any depth.

    Files of whole numbers (PNG, TIFF) are sRGB-encoded; those of floats are linear, and values above 1 stay.
    Raises DataError, naming the file, where it is damaged, holds no colours or a number that is not finite.
    """
    values, names, is_float = _read(path)
    present = next((wanted for wanted in _COLOR_CHANNELS if set(wanted) <= set(names)), None)
    if present is None:
        raise DataError(f"{path}: has the channels {', '.join(names)}; wanted R, G, B or Y, with or without A")
    color = values[:, :, [names.index(name) for name in present]]
    alpha = next((values[:, :, names.index(name)] for name in ("A", "a") if name in names), None)
    used = color if alpha is None else np.dstack([color, alpha])
    if not np.isfinite(used).all():
        row, column, _ = np.argwhere(~np.isfinite(used))[0].tolist()
        raise DataError(
            f"{path}: the pixel in row {row}, column {column} is {used[row, column].tolist()}; wanted finite numbers"
        )
    rgb = torch.from_numpy(np.broadcast_to(color, (*color.shape[:2], 3)).copy())
    coverage = None if alpha is None else torch.from_numpy(alpha.copy()).clamp(0, 1)
    if not is_float:
        rgb = linear_from_srgb(rgb.double()).float()
    elif coverage is not None:
        # OpenEXR holds colour times alpha.
        rgb = rgb / coverage.where(coverage > 0, 1)[:, :, None]
    return ImageData(rgb, coverage)


def _read(path: Path) -> tuple[np.ndarray, list[str], bool]:
    """float32 [H, W, C], the names of the channels, and whether the file holds floats."""
    oiio = openimageio(path)
    wanted = oiio.ImageSpec()
    # OpenImageIO would otherwise multiply the colours of a PNG by alpha.
    wanted.attribute("oiio:UnassociatedAlpha", 1)
    file = oiio.ImageInput.open(str(path), wanted)
    if file is None:
        raise DataError(f"{path}: cannot be read as an image ({_first_line(oiio.geterror())}); export it again")
    try:
        spec = file.spec()
        values = file.read_image(oiio.FLOAT)
        if values is None:
            raise DataError(f"{path}: cannot be read as an image ({_first_line(file.geterror())}); export it again")
        is_float = spec.format.basetype in (oiio.FLOAT, oiio.HALF, oiio.DOUBLE)
        return values.reshape(spec.height, spec.width, spec.nchannels), list(spec.channelnames), is_float
    finally:
        file.close()


def openimageio(path: Path) -> Any:
    """The module OpenImageIO. Raises DataError, saying that `path` needs it, where it is not installed."""
    try:
        import OpenImageIO
    except ImportError:
        raise DataError(
            f"{path}: this kind of image needs the package OpenImageIO; run `pip install OpenImageIO`"
        ) from None
    return OpenImageIO


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0] or "damaged or no image"
