"""Find a backdrop of one colour in pictures without masks, and masks of what is in front of it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from diffrender.imaging.color import linear_from_srgb, srgb_from_linear
from diffrender.scene.target_views import Views

# The part of a picture's sides that counts as its border, where no object is expected.
BORDER = 0.03
# In sRGB units, in the channel that differs most: what still is the colour of the backdrop, besides its noise.
ALIKE = 0.035
# More than this usual difference is not noise.
NOISIEST = 0.05
# A backdrop needs this share of the border's pixels, in this share of the views.
SHARE_OF_BORDER, SHARE_OF_VIEWS = 0.9, 0.8
# Masks that are smaller or larger parts of their picture are no objects.
SMALLEST, LARGEST = 0.002, 0.9
# In sRGB units: a hole is see-through if its median pixel differs from the backdrop by less, besides noise.
GAP = 0.01
# The side in pixels of the square in which the full colour of an object is looked for, at its border.
NEIGHBOURHOOD = 5


class Backdrop(NamedTuple):
    """A backdrop of one colour: its sRGB values [3] in 0..1, and their usual difference from that, by noise."""

    color: np.ndarray
    noise: float

    @property
    def linear(self) -> tuple[float, float, float]:
        """The colour in linear RGB."""
        red, green, blue = linear_from_srgb(torch.from_numpy(self.color).float()).tolist()
        return red, green, blue


def find_backdrop(views: Views) -> Backdrop | None:
    """Return the backdrop if the borders of nearly all pictures have one colour."""
    images = srgb_from_linear(views.images.clamp(0, 1)).numpy()
    height, width = images.shape[1:3]
    rows, columns = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    is_border = np.ones((height, width), bool)
    is_border[rows:-rows, columns:-columns] = False
    border = images[:, is_border]
    color = np.median(border.reshape(-1, 3), axis=0)
    difference = np.abs(border - color).max(-1)
    noise = float(np.median(difference))
    is_plain = (difference < ALIKE + 2 * noise).mean(1) >= SHARE_OF_BORDER
    return Backdrop(color, noise) if noise < NOISIEST and is_plain.mean() >= SHARE_OF_VIEWS else None


def with_masks(views: Views, backdrop: Backdrop) -> tuple[Views, list[str]]:
    """Return `views` with masks of what differs from the backdrop; if not all have an object, unchanged, and which.

    Masks are fractions where the object's border passes through a pixel, and the largest connected part of each view.
    """
    images = srgb_from_linear(views.images.clamp(0, 1)).numpy()
    light = np.abs(views.images.clamp(0, 1).numpy() - np.array(backdrop.linear, np.float32)).max(-1)
    differences = np.abs(images - backdrop.color).max(-1)
    masks = np.stack([_mask(each, own, backdrop.noise) for each, own in zip(differences, light, strict=True)])
    sizes = masks.mean((1, 2))
    is_object = (sizes > SMALLEST) & (sizes < LARGEST)
    lost = [name for name, good in zip(views.names, is_object, strict=True) if not good]
    return (views, lost) if lost else (replace(views, masks=torch.from_numpy(masks).to(views.images)), [])


def _mask(difference: np.ndarray, light: np.ndarray, noise: float) -> np.ndarray:
    """Return the mask [H, W] of a picture that differs from its backdrop by `difference` in sRGB, `light` in linear."""
    from scipy import ndimage

    label, count = ndimage.label(ndimage.binary_opening(difference > ALIKE + 2 * noise))
    if not count:
        return np.zeros(difference.shape, np.float32)
    part = label == np.bincount(label.reshape(-1))[1:].argmax() + 1
    holes, count = ndimage.label(ndimage.binary_fill_holes(part) & ~part)
    if count:
        medians = ndimage.median(difference, holes, np.arange(1, count + 1))
        part |= np.isin(holes, np.flatnonzero(medians > GAP + noise) + 1)
    # A pixel is as much of the object as it has of the difference that the object has beside it.
    full = ndimage.grey_dilation(np.where(part, light, 0), size=NEIGHBOURHOOD)
    near = ndimage.binary_dilation(part) & ~ndimage.binary_erosion(part)
    share = np.where(near, np.clip(light / np.maximum(full, 1e-6), 0, 1), part)
    return share.astype(np.float32)
