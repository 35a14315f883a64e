"""Images of floats: OpenEXR and Radiance HDR, in linear light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError, ShapeError
from diffrender.writers.atomic import replacing


def write_hdr_image(path: Path, image: Tensor) -> None:
    """Write a linear image, [H, W, 3] or [H, W, 4] with alpha, as .exr (float32) or .hdr; values above 1 are kept.

    Colours must not be multiplied by alpha: OpenEXR stores them so, and it is done here. Radiance HDR has no alpha and
    no negative values, and keeps three digits.

    Raises ShapeError for another shape or suffix, DataError if the file cannot be written or OpenImageIO
    is missing.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if image.dim() != 3 or image.shape[2] not in (3, 4):
        raise ShapeError(f"write_hdr_image: image must have shape [H, W, 3] or [H, W, 4], got {list(image.shape)}")
    if suffix not in (".exr", ".hdr") or (suffix == ".hdr" and image.shape[2] == 4):
        raise ShapeError(f"write_hdr_image: {path.name} must end in .exr, or without alpha in .hdr")
    image = image.detach().to("cpu", torch.float32)
    if image.shape[2] == 4:
        image = torch.cat([image[:, :, :3] * image[:, :, 3:], image[:, :, 3:]], 2)
    _write(path, image.contiguous().numpy())


def _write(path: Path, pixels: np.ndarray) -> None:
    oiio = _openimageio(path)
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, "float")
    with replacing(path) as temporary:
        file = oiio.ImageOutput.create(str(temporary))
        if file is None or not file.open(str(temporary), spec) or not file.write_image(pixels) or not file.close():
            reason = (file.geterror() if file is not None else oiio.geterror()).strip()
            raise DataError(f"cannot write {path}: {reason or 'unknown reason'}; choose a writable folder")


def _openimageio(path: Path) -> Any:
    try:
        import OpenImageIO
    except ImportError:
        raise DataError(
            f"cannot write {path}: this needs the package OpenImageIO; run `pip install OpenImageIO`"
        ) from None
    return OpenImageIO
