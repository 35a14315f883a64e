"""Masks that are wider than the object: by how much, which its edge in the pictures tells, and narrower ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from diffrender.geometry.silhouette_distance import signed_distance_px
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.target_views import Views, evenly_spaced_indices
from diffrender.setup.object_masks import composite

MOST_VIEWS = 16
# Pixels inside the outline in which edges are looked for, and beyond which is the object's interior.
DEEP_PX, INTERIOR_PX = 12, 8
# Blur and hard masks may put an object's edge into the second pixel. An edge is this many times the interior's.
WIDE_PX, STRONG = 2, 3.0
# Of the views, whose strongest edges are as deep, to a pixel.
MOSTLY = 0.6


def excess_px(views: Views) -> int | None:
    """Return by how many pixels the masks of `views` are wider than what they show; None if they are not.

    At each depth inside the masks, the mean difference of sRGB between neighbouring pixels. That of an object before
    anything else is largest at the object's own edge: in the first pixels of exact masks, which hide what is outside.
    """
    assert views.masks is not None
    differences, pairs = np.zeros((2, min(len(views), MOST_VIEWS), DEEP_PX))
    for row, index in enumerate(evenly_spaced_indices(len(views), MOST_VIEWS)):
        image = srgb_from_linear(views.images[index]).clamp(0, 1).cpu().numpy()
        depth = -signed_distance_px(views.masks[index].cpu().numpy())
        if views.weights is not None:
            depth = np.where(views.weights[index].cpu().numpy() > 0, depth, -1.0)
        for axis in (0, 1):
            step = np.abs(np.diff(image, axis=axis)).max(-1)
            first, second = (np.delete(depth, end, axis) for end in (-1, 0))
            # Along an outline pairs tell nothing of what is across it.
            counts = (np.minimum(first, second) > 0) & (np.abs(first - second) > 0.7)
            at = ((first + second) / 2).astype(np.int64)
            counts &= at < DEEP_PX
            differences[row] += np.bincount(at[counts], step[counts], DEEP_PX)
            pairs[row] += np.bincount(at[counts], minlength=DEEP_PX)
    profile = differences.sum(0) / pairs.sum(0).clip(1)
    deepest, has_interior = int(profile[:INTERIOR_PX].argmax()), bool((pairs.sum(0)[INTERIOR_PX:] > 0).any())
    interior = np.median(profile[INTERIOR_PX:][pairs.sum(0)[INTERIOR_PX:] > 0]) if has_interior else np.inf
    if deepest < WIDE_PX or profile[deepest] < STRONG * interior:
        return None
    of_views = (differences / pairs.clip(1))[:, :INTERIOR_PX].argmax(1)
    return deepest if (np.abs(of_views - deepest) <= 1).mean() >= MOSTLY else None


def narrow_masks(views: Views, px: float, background: tuple[float, float, float]) -> Views:
    """Return `views` with masks that end `px` pixels further inside, before the `background`.

    Where the object goes on beyond what is known, or beyond the image, its mask does too.
    """
    assert views.masks is not None
    masks = []
    for index, mask in enumerate(views.masks):
        values = mask.numpy()
        if views.weights is not None:
            values = np.where(views.weights[index].numpy() > 0, values, 1.0)
        inside = np.clip(0.5 - px - signed_distance_px(values), 0.0, 1.0)
        masks.append(torch.minimum(torch.from_numpy(inside).to(mask), mask))
    return composite(replace(views, masks=torch.stack(masks)), background)
