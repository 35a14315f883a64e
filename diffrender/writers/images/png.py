"""Images as 8-bit PNG: sRGB colours, linear numbers, normals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffrender.checks import as_path, check_type
from diffrender.errors import ShapeError
from diffrender.imaging.color import srgb_from_linear
from diffrender.writers.atomic import replacing

# The tangent-space normal of a flat surface.
OUTWARDS = (0.0, 0.0, 1.0)


def encode_srgb8(image: Tensor) -> np.ndarray:
    """Encode linear colours as sRGB, uint8 [..., 3 or 4]: clamped to 0..1, rounded to the nearest step, not dithered.

    image: [..., 3] linear RGB, or [..., 4] with coverage alpha, which is stored as it is. Colour is not divided by
        alpha: an image composited over a background stays so. NaN becomes black.
    """
    if image.dim() < 1 or image.shape[-1] not in (3, 4):
        raise ShapeError(f"encode_srgb8: image must have shape [..., 3] or [..., 4], got {list(image.shape)}")
    image = image.detach().to("cpu", torch.float32).nan_to_num(nan=0.0).clamp(0, 1)
    encoded = torch.cat([srgb_from_linear(image[..., :3]), image[..., 3:]], -1)
    return (encoded.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def write_png(path: Path, image: Tensor) -> None:
    """Write an image as an 8-bit sRGB PNG.

    path: the file; missing folders are made, and an earlier file is replaced.
    image: [H, W, 3] linear RGB, row 0 at the top, or [H, W, 4] with alpha in 0..1, by which the colours are neither
        multiplied nor divided. Values are clamped to 0..1; NaN becomes black.

    Raises ShapeError for another shape or whole numbers, DataError if the file cannot be written.

        write_png("view.png", render_scene(scene, cameras).rgba[0, :, :, :3])
    """
    path = as_path("write_png", "path", path)
    check_type("write_png", "image", image, Tensor, "a torch.Tensor")
    if image.dim() != 3:
        raise ShapeError(f"write_png: image must have shape [H, W, 3] or [H, W, 4], got {list(image.shape)}")
    if not image.is_floating_point():
        raise ShapeError(
            f"write_png: image must be linear numbers in 0..1, got {image.dtype}; bytes that are sRGB already become"
            " linear by diffrender.imaging.color.linear_from_srgb(image / 255)"
        )
    write_encoded_png(path, encode_srgb8(image))


def write_encoded_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W, 3 or 4], already sRGB-encoded, as a PNG. Raises DataError if it cannot be written."""
    with replacing(Path(path)) as temporary:
        Image.fromarray(pixels).save(temporary)


def encode_numbers8(values: Tensor) -> np.ndarray:
    """Encode numbers in 0..1 linearly as uint8 [...], rounded to the nearest step."""
    return (unit_interval(values) * 255).round().astype(np.uint8)


def encode_normals8(vectors: Tensor) -> np.ndarray:
    """Encode directions of vectors [..., 3], -1..1 per coordinate, as uint8 [..., 3]; a zero vector points outwards."""
    vectors = vectors.detach().to("cpu", torch.float32).nan_to_num(nan=0.0)
    length = vectors.norm(dim=-1, keepdim=True)
    unit = torch.where(length > 0, vectors / length.where(length > 0, 1), vectors.new_tensor(OUTWARDS))
    return encode_numbers8(unit * 0.5 + 0.5)


def unit_interval(values: Tensor) -> np.ndarray:
    """Return the values clamped to 0..1, NaN as 0."""
    return values.detach().to("cpu", torch.float32).nan_to_num(nan=0.0).clamp(0, 1).numpy()
