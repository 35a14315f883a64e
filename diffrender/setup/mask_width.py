"""Masks that are wider than the object: by how much, which its edge in the pictures tells, and narrower ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.silhouette_distance import signed_distance_px
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.filters import resize_area
from diffrender.readers.images.image import read_image
from diffrender.scene.target_views import Views, evenly_spaced_indices
from diffrender.setup.object_masks import composite

MOST_VIEWS, MOST_PHOTOGRAPHS = 16, 4
# Pixels outside and inside the outline in which edges are looked for, and beyond which is the object's interior.
OUTSIDE_PX, DEEP_PX, INTERIOR_PX = 3, 12, 8
# Blur and hard masks may put an object's edge into the second pixel. An edge is this many times the interior's.
WIDE_PX, STRONG = 2, 3.0
# Of the views, whose strongest edges are as deep, to a pixel.
MOSTLY = 0.6
# Of the edge inside: what a photograph has at most at the outline of a mask that is too wide.
ON_OUTLINE = 0.5


def excess_px(views: Views) -> int | None:
    """Return by how many pixels the masks of `views` are wider than what they show; None if nothing proves it.

    At each depth inside the masks, the mean difference of sRGB between neighbouring pixels. That of an object before
    anything else is largest at the object's own edge: in the first pixels of exact masks, which hide what is outside.
    An object may have a painted rim; but then its photographs have an edge at the outline of the mask as well.
    """
    assert views.masks is not None
    index = evenly_spaced_indices(len(views), MOST_VIEWS)
    sums = np.stack([_edges(views, each, views.images[each], True) for each in index])
    (differences, pairs), inside = sums.sum(0)[:, OUTSIDE_PX:], slice(INTERIOR_PX, None)
    profile = differences / pairs.clip(1)
    deepest, has_interior = int(profile[:INTERIOR_PX].argmax()), bool((pairs[inside] > 0).any())
    interior = np.median(profile[inside][pairs[inside] > 0]) if has_interior else np.inf
    if deepest < WIDE_PX or profile[deepest] < STRONG * interior:
        return None
    of_views = (sums[:, 0] / sums[:, 1].clip(1))[:, OUTSIDE_PX:][:, :INTERIOR_PX].argmax(1)
    if (np.abs(of_views - deepest) <= 1).mean() < MOSTLY:
        return None
    some = evenly_spaced_indices(len(views), MOST_PHOTOGRAPHS)
    photographs = [(each, image) for each in some if (image := _photograph(views, each)) is not None]
    if not photographs:
        return None
    differences, pairs = np.sum([_edges(views, each, image, False) for each, image in photographs], 0)
    profile, at = differences / pairs.clip(1), OUTSIDE_PX + deepest
    return deepest if profile[: OUTSIDE_PX + 1].max() < ON_OUTLINE * profile[at - 1 : at + 2].max() else None


def _edges(views: Views, index: int, linear: Tensor, is_within: bool) -> np.ndarray:
    """Return the sum of differences between neighbouring pixels and their number [2, D] at each whole depth.

    linear: [H, W, 3] the colours. Depths begin OUTSIDE_PX outside of the mask. is_within: only of pixels in the mask.
    """
    assert views.masks is not None
    image = srgb_from_linear(linear).clamp(0, 1).cpu().numpy()
    depth = -signed_distance_px(views.masks[index].cpu().numpy())
    if views.weights is not None:
        depth = np.where(views.weights[index].cpu().numpy() > 0, depth, -np.inf)
    sums = np.zeros((2, OUTSIDE_PX + DEEP_PX))
    for axis in (0, 1):
        step = np.abs(np.diff(image, axis=axis)).max(-1)
        first, second = (np.delete(depth, end, axis) for end in (-1, 0))
        least = np.minimum(first, second)
        counts = (least > (0 if is_within else -OUTSIDE_PX)) & (np.maximum(first, second) < DEEP_PX)
        # Along an outline pairs tell nothing of what is across it.
        counts[counts] = np.abs(first[counts] - second[counts]) > 0.7
        at = np.floor((first[counts] + second[counts]) / 2).astype(np.int64) + OUTSIDE_PX
        sums += [np.bincount(at, step[counts], sums.shape[1]), np.bincount(at, minlength=sums.shape[1])]
    return sums


def _photograph(views: Views, index: int) -> Tensor | None:
    """Return the photograph of a view, [H, W, 3] linear, at the size of its picture; None if that is not all of it."""
    files = None if views.files is None else views.files[index]
    height, width = views.cameras.height, views.cameras.width
    if files is None or files.lens is not None or views.photo_boxes()[index] != [0, 0, height, width]:
        return None
    try:
        rgb = read_image(files.image).rgb
    except DataError:
        return None
    if rgb.shape[0] < height or rgb.shape[1] < width:
        return None
    return resize_area(rgb[None], height, width)[0]


def photograph_scale(views: Views) -> float:
    """Return how many times as wide as in `views` the photographs are, the median; 1 if they are not known."""
    pairs = zip(views.files or (), views.photo_boxes(), strict=False)
    scales = [files.width / width for files, (_, _, _, width) in pairs if files is not None]
    return float(np.median(scales)) if scales else 1.0


def narrow_masks(views: Views, px: float, background: tuple[float, float, float]) -> Views:
    """Return `views` with masks that end further inside, by `px` pixels of the photographs, before the `background`.

    Where the object goes on beyond what is known, or beyond the image, its mask does too.
    """
    assert views.masks is not None
    masks, px = [], px / photograph_scale(views)
    for index, mask in enumerate(views.masks):
        values = mask.numpy()
        if views.weights is not None:
            values = np.where(views.weights[index].numpy() > 0, values, 1.0)
        inside = np.clip(0.5 - px - signed_distance_px(values), 0.0, 1.0)
        masks.append(torch.minimum(torch.from_numpy(inside).to(mask), mask))
    return composite(replace(views, masks=torch.stack(masks)), background)
