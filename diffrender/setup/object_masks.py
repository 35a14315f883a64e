"""Find masks of the object that pictures without masks look at, by its depth."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_max_pool2d

from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.random_walk import random_walk
from diffrender.imaging.unmix import replace_background
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.setup.depth_sweep import DepthMaps, of_all_views
from diffrender.setup.standing_object import StandingObject, find_standing_object
from diffrender.setup.swept_views import SweptViews

# In small pixels: outlines by depth are up to so far outside of the true ones, since the squares that are compared
# reach over them; those of all views in common are so far off inside and outside; and so far, in masks of colours.
FAT, INSIDE, OUTSIDE, UNCERTAIN = 3, 3, 1, 2
# Thin parts keep their middle, if it is more than so many pixels inside.
RIDGE = 1.4
# Half the width in small pixels of gaps in what depths show of an object, where it has no texture.
GAP = 7
# So many views, or this share of them, may deny a point that the others see as the object.
DENYING, SHARE_DENYING = 2, 0.05
# Standard deviations of the blurs that take noise from colours, and stairs from outlines, in pixels.
SMOOTH_PX, OUTLINE_PX = 0.5, 0.7
# Masks overlap with what they have in common in space as much in usual pictures, or are not masks of one thing.
COMMON = 0.75
# What covers more than this share of the border of usual pictures goes on outside of them.
CUT_OFF = 0.1


class ObjectMasks(NamedTuple):
    """What was found.

    fit: views with masks; None if there is no object. heldout: the same, or as they were; None without any.
    why: why there are no masks, or held-out views have none.
    is_cut_off: whether it goes on outside of the pictures.
    """

    fit: Views | None
    heldout: Views | None
    why: str = ""
    is_cut_off: bool = False


def find_object_masks(fit: Views, heldout: Views | None, swept: SweptViews, may_be_flat: bool = True) -> ObjectMasks:
    """Return the views with masks of the object that all look at, apart from the plane that it stands on.

    The shape that decides is seen from the fitted views only.
    may_be_flat: whether that may be flat, as a plate is on a table, or a window in a wall.
    """
    if not swept.is_around:
        return ObjectMasks(None, None, "its cameras do not look at one place from several sides")
    small, n_fit = swept.views, len(fit)
    found = find_standing_object(swept.fitted_cameras, swept.fitted_depths, swept.middles[0].numpy())
    if found is None:
        return ObjectMasks(None, None, "nothing in the middle of its pictures is apart from the rest by depth")
    if found.is_flat and not may_be_flat:
        return ObjectMasks(None, None, "what is in the middle of its pictures is flat, as a window in a wall")
    masks, overlap = _small_masks(small, swept.depths, found, n_fit)
    if overlap < COMMON:
        why = f"outlines by colour and by depth do not agree (overlap {overlap:.2f})"
        return ObjectMasks(None, None, why)
    is_cut_off = _is_cut_off(fit, masks[:n_fit])
    masked = replace(fit, masks=_refine(fit, masks[:n_fit]))
    if heldout is not None and len(small) > n_fit:
        return ObjectMasks(masked, replace(heldout, masks=_refine(heldout, masks[n_fit:])), "", is_cut_off)
    why = "" if heldout is None else "held-out views have no masks, since their images have another size"
    return ObjectMasks(masked, heldout, why, is_cut_off)


def composite(views: Views, background: tuple[float, float, float]) -> Views:
    """Return `views` with nothing but the `background` outside of their masks."""
    assert views.masks is not None
    share, images = views.masks[..., None], views.images.clone()
    known = [None] * len(views) if views.weights is None else views.weights
    for image, mask, weight in zip(images, views.masks, known, strict=True):
        replace_background(image, mask, background, weight)
    images = share * images + (1 - share) * images.new_tensor(background)
    aovs = {name: values * share for name, values in views.aovs.items()}
    return replace(views, images=images, aovs=aovs, is_composited=True)


def _small_masks(views: Views, depths: DepthMaps, found: StandingObject, n_fit: int) -> tuple[np.ndarray, float]:
    """Return masks [N, H, W] of the object in small `views`, and how far the usual one is what all have in common."""
    from scipy import ndimage

    cameras, images = views.cameras, views.images.numpy()
    reliable, points = depths.is_reliable.numpy(), depths.points.numpy()
    reaches = _project(cameras, found.points, found.cell)

    def seeds(view: int) -> tuple[np.ndarray, np.ndarray]:
        reach = ndimage.binary_dilation(reaches[view], np.ones((3, 3)))
        on = reliable[view] & found.contains(points[view])
        flat = reliable[view] & ~on & (found.heights(points[view]) < 0.5 * found.thick)
        ground = ~reach | (flat & ~ndimage.binary_dilation(on))
        seen = ndimage.binary_fill_holes(_closed(on, GAP)) & reach
        return on & _core(seen, FAT), ground

    def first(view: int) -> np.ndarray:
        return random_walk(_smooth(images[view]), *seeds(view))

    masks = of_all_views(first, len(views))
    known = views.known_pixels.numpy()
    # What a picture does not show, it does not deny.
    denied = sum(
        (_at(np.where(known[view], masks[view], 1), cameras.select([view]), found.points) <= 0.5).astype(np.int32)
        for view in range(n_fit)
    )
    common = _project(cameras, found.points[denied <= max(DENYING, SHARE_DENYING * n_fit)], found.cell)
    pairs = zip((mask > 0.5 for mask in masks), common, strict=True)
    overlap = float(np.median([(mine & others).sum() / max((mine | others).sum(), 1) for mine, others in pairs]))

    def second(view: int) -> np.ndarray:
        inside, ground = seeds(view)
        ground |= ~ndimage.binary_dilation(common[view], iterations=OUTSIDE)
        inside |= _core(common[view], INSIDE)
        return random_walk(_smooth(images[view]), inside & ~ground, ground)

    return np.stack(of_all_views(second, len(views))), overlap


def _is_cut_off(views: Views, masks: np.ndarray) -> bool:
    """Whether what is in small `masks` [N, h, w] goes on outside of usual `views`, as a house from nearby."""
    borders = adaptive_max_pool2d(views.borders(1, 1)[:, None].float(), masks.shape[1:])[:, 0].numpy() > 0
    shares = [(mask[border] > 0.5).sum() / max(border.sum(), 1) for mask, border in zip(masks, borders, strict=True)]
    return float(np.median(shares)) > CUT_OFF


def _refine(views: Views, masks: np.ndarray) -> torch.Tensor:
    """Return small `masks` as those of `views` [N, H, W], along the edges of their images."""
    from scipy import ndimage

    size = views.images.shape[1:3]
    scale = size[0] / masks.shape[1]
    margin = max(1, round(UNCERTAIN * scale))
    known = views.known_pixels

    def refined(view: int) -> np.ndarray:
        small = torch.from_numpy(masks[view])[None, None]
        inside = torch.nn.functional.interpolate(small, size, mode="bilinear", align_corners=False)[0, 0].numpy() > 0.5
        if scale > 1:
            image = views.images[view].where(known[view][..., None], 0)
            share = random_walk(
                _smooth(srgb_from_linear(image.clamp(0, 1)).numpy()),
                ndimage.binary_erosion(inside, iterations=margin, border_value=1),
                ~ndimage.binary_dilation(inside, iterations=margin),
            )
            inside = share > 0.5
        return ndimage.gaussian_filter(inside.astype(np.float32), OUTLINE_PX)

    return torch.from_numpy(np.stack(of_all_views(refined, len(views)))).to(views.images)


def _smooth(image: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter(image, (SMOOTH_PX, SMOOTH_PX, 0))


def _project(cameras: Cameras, points: np.ndarray, cell: float) -> np.ndarray:
    """Return the pixels [N, H, W] that show one of the grid `points` [P, 3], without gaps between neighbours."""
    shown = np.zeros((len(cameras), cameras.height, cameras.width), bool)
    for view, pixels in enumerate(shown):
        camera = cameras.select([view])
        column, row, depth = camera.world_to_pixels(torch.from_numpy(points))[0].numpy().T
        inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        pixels[row[inside].astype(np.int64), column[inside].astype(np.int64)] = True
        if inside.any():
            gap = cell * float(camera.focal_px.mean()) / float(np.median(depth[inside]))
            pixels |= _closed(pixels, max(1, round(gap)))
    return shown


def _core(mask: np.ndarray, times: int) -> np.ndarray:
    """Return `mask` [H, W] without so many pixels at its border, but with the middle of thin parts."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(mask)
    ridge = (depth >= ndimage.maximum_filter(depth, 3)) & (depth > RIDGE)
    return ndimage.binary_erosion(mask, iterations=times) | ridge


def _closed(mask: np.ndarray, times: int) -> np.ndarray:
    """Return `mask` [H, W] with gaps of up to twice `times` pixels closed, also at the border."""
    from scipy import ndimage

    return ndimage.binary_closing(np.pad(mask, times), iterations=times)[times:-times, times:-times]


def _at(mask: np.ndarray, camera: Cameras, points: np.ndarray) -> np.ndarray:
    """Return the values of a mask where a camera sees `points` [P, 3]; 1 outside of its picture."""
    from scipy import ndimage

    column, row = camera.world_to_pixels(torch.from_numpy(points))[0, :, :2].numpy().T
    return ndimage.map_coordinates(mask, [row - 0.5, column - 0.5], order=1, cval=1.0)
