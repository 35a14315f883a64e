"""Undistortion: what a pinhole with the focal lengths and principal point of a lens would have photographed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.lens_distortion import LensDistortion
from diffrender.imaging.quad_means import quad_means

# Rows of pixels whose corners are distorted at a time, so that they stay in the processor's cache.
ROWS = 32
# A loss of this share of one photograph is told beside the mean.
MUCH = 0.25


class Undistorted(NamedTuple):
    """Pixels of a pinhole.

    pixels: [height, width, C], means over the part of each pixel that the photograph shows; 0 where it shows nothing.
    weights: [height, width] in 0..1, the part of each pixel that it shows.
    lost: the share of the photograph that is in no pixel.
    """

    pixels: Tensor
    weights: Tensor
    lost: float


def undistort(
    photograph: Tensor, lens: LensDistortion, intrinsics: tuple[float, ...], height: int, width: int
) -> Undistorted:
    """Resample a photograph [H, W, C] in linear light to [height, width, C], as a pinhole sees it.

    intrinsics: focal lengths x, y and centre x, y in pixels of the photograph; the pinhole's are the same, for its
        size. Each pixel is the exact mean over the area that it has in the photograph, but for the curvature of its
        edges: nothing is aliased, and a lens without effect gives the pixels of `resize_area`. What is beyond the
        lens's largest radius is not shown.
    """
    image = np.ascontiguousarray(photograph.numpy(), np.float32)
    focal_x, focal_y, center_x, center_y = intrinsics
    full_height, full_width = image.shape[:2]
    limit = lens.largest_radius()
    pixels = np.empty((height, width, image.shape[2]), np.float32)
    weights = np.empty((height, width), np.float32)
    shown = 0.0
    with np.errstate(all="ignore"):  # beyond the largest radius, which is not valid, and of numbers that make no sense
        # Corners of the pixels, as integers until the division: those of the image's edge are exact.
        x = (np.arange(width + 1) * full_width / width - center_x) / focal_x
        y = (np.arange(height + 1) * full_height / height - center_y) / focal_y
        for start in range(0, height, ROWS):
            end = min(start + ROWS, height)
            corners_x, corners_y = np.meshgrid(x, y[start : end + 1])
            valid = x**2 + y[start : end + 1, None] ** 2 <= limit**2
            bent_x, bent_y = lens.distort(corners_x, corners_y)
            corners = np.stack([bent_x * focal_x + center_x, bent_y * focal_y + center_y], -1)
            pixels[start:end], areas = quad_means(image, corners, valid)
            inside, whole = areas[..., 0], areas[..., 1]
            weights[start:end] = np.divide(inside, whole, out=np.zeros_like(whole), where=whole > 0)
            shown += float(inside.sum())
    # Rounding is not a part that is missing.
    weights[weights > 1 - 1e-6] = 1
    lost = max(0.0, 1 - shown / (full_height * full_width))
    return Undistorted(torch.from_numpy(pixels), torch.from_numpy(weights), lost)


def undistort_loaded(
    rgb: Tensor,
    mask: Tensor | None,
    known: Tensor | None,
    lens: LensDistortion,
    intrinsics: tuple[float, ...],
    height: int,
    width: int,
    background: Sequence[float],
) -> tuple[Tensor, Tensor | None, Tensor | None, float]:
    """Undistort a photograph [H, W, 3] with its mask [H, W], as `undistort` does.

    known: [H, W] how much of each of its pixels is known, None: all; means are of what is known.

    Returns the photograph, `background` where nothing is known; the mask, 0 there; how much of each pixel is known,
    None if all is; and the share of the photograph that is lost. Raises DataError if it shows nothing at all.
    """
    channels = rgb if mask is None else torch.cat([rgb, mask[..., None]], -1)
    if known is not None:
        # What is not known may be any number, also NaN.
        channels = channels.where(known[..., None] > 0, 0.0) * known[..., None]
        channels = torch.cat([channels, known[..., None]], -1)
    pixels, weights, lost = undistort(channels, lens, intrinsics, height, width)
    if not bool((weights > 0).any()):
        raise DataError(
            f"the image shows nothing when it is undistorted: {lens} bends all of it away; correct the coefficients of"
            " the lens, its focal lengths and its principal point, which are in pixels of the image on disk"
        )
    if known is not None:
        share = pixels[..., -1]
        pixels = pixels[..., :-1] / share.clamp_min(1e-12)[..., None]
        weights = weights * share
    rgb = pixels[..., :3].where(weights[..., None] > 0, torch.tensor(list(background), dtype=pixels.dtype))
    mask = None if mask is None else pixels[..., 3].where(weights > 0, 0.0)
    return rgb, mask, None if bool((weights == 1).all()) else weights, lost


def note_undistorted(lost: Sequence[float], n_images: int) -> list[str]:
    """Return a note on undistorted images, of `n_images` in all; lost: the share of each that no pixel shows."""
    if not lost:
        return []
    mean = sum(lost) / len(lost)
    much = "" if max(lost) <= MUCH else f" (of one, {max(lost):.0%})"
    cut = f"{mean:.1%} of their pixels{much} are beyond its edges" if mean >= 0.0005 else "hardly a pixel is lost"
    which = "its" if len(lost) == n_images else f"{len(lost)} of its"
    return [f"{which} {n_images} images are undistorted, to a pinhole with the same focal lengths; {cut}"]
