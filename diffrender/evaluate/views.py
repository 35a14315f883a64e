"""Scores of a scene against target views: PSNR, mask IoU and SSIM, and how bright both are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.metrics import MOST_DB, has_ssim, mask_iou, mean_ssim, psnr_db, ssim_map
from diffrender.render.render import RenderViews
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

# Views per render call: enough to keep all cores busy, few enough for the memory of large images.
CHUNK = 4
# Rims of masks are less exact than that.
UNCOVERED_PX = 2


@dataclass(frozen=True)
class ViewScores:
    """The scores of one view: of its known pixels, by their weights. Colours are sRGB, clamped to 0..1.

    name: of the view.
    psnr_db: of the whole image.
    psnr_masked_db: of the pixels where the target mask is above 0.5; NaN if there are none.
    mask_iou: of coverage and mask, both thresholded at 0.5; NaN if the target has no mask.
    ssim: structural similarity of the whole image; NaN if no window of 11 x 11 pixels is known.
    ssim_masked: of the windows about pixels where the target mask is above 0.5; NaN if there are none.
    known: the share of the image that is known, and so scored.
    brightness, target_brightness: mean linear values of the covered pixels, and of the target inside its mask (of all
        pixels without one); 0 if there are none.
    uncovered: how many pixels of the mask are not covered, nor is any within UNCOVERED_PX of them; NaN without a mask.
    """

    name: str
    psnr_db: float
    psnr_masked_db: float
    mask_iou: float
    ssim: float
    ssim_masked: float
    known: float
    brightness: float
    target_brightness: float
    uncovered: float


def evaluate_views(scene: Scene, views: Views, render_views: RenderViews) -> dict[str, float]:
    """Score `scene` against `views`, rendered with their cameras; each score is the mean over views.

    Returns the numbers of `ViewScores` by name, each over the views that have it: those inside the mask are over the
    views whose mask is not empty, and NaN if the targets have no masks. Raises ShapeError if there are no views.
    """
    return mean_scores(score_views(scene, views, render_views))


@torch.no_grad()
def score_views(scene: Scene, views: Views, render_views: RenderViews) -> list[ViewScores]:
    """Score `scene` against each of `views`, rendered with their cameras. Raises ShapeError if there are no views."""
    if len(views) == 0:
        raise ShapeError("evaluate_views: there are no views to evaluate")
    scores: list[ViewScores] = []
    for start in range(0, len(views), CHUNK):
        part = views.select(list(range(start, min(start + CHUNK, len(views)))))
        rgba = render_views(scene, part.cameras).rgba
        rendered, target = (srgb_from_linear(image).clamp(0, 1) for image in (rgba[..., :3], part.images))
        whole = psnr_db(rendered, target, part.weights).clamp_max(MOST_DB)
        inside, overlap, similar, similar_inside, uncovered = (torch.full_like(whole, math.nan) for _ in range(5))
        known = torch.ones_like(whole) if part.weights is None else part.weights.mean((1, 2))
        weights = torch.ones_like(rgba[..., 3]) if part.weights is None else part.weights
        brightness = _mean(rgba[..., :3], weights * (rgba[..., 3] > 0.5))
        target_brightness = _mean(part.images, weights if part.masks is None else weights * (part.masks > 0.5))
        is_large = has_ssim(part.cameras.height, part.cameras.width)
        if is_large:
            similarity = ssim_map(rendered, target, part.weights)
            similar = mean_ssim(*similarity)
        if part.masks is not None:
            is_object = part.masks > 0.5
            counted = is_object.to(rendered.dtype)
            counted = counted if part.weights is None else counted * part.weights
            inside = psnr_db(rendered, target, counted).clamp_max(MOST_DB)
            overlap = mask_iou(rgba[..., 3], part.masks, weight=part.weights)
            uncovered = _count_within(counted * (rgba[..., 3] < 0.5), UNCOVERED_PX)
            if is_large:
                similar_inside = mean_ssim(*similarity, is_object)
        means = whole, inside, overlap, similar, similar_inside, known, brightness, target_brightness, uncovered
        columns = (column.tolist() for column in means)
        scores += [ViewScores(*row) for row in zip(part.names, *columns, strict=True)]
    return scores


def _mean(images: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum((1, 2))
    return torch.where(weight > 0, images.mean(-1) * weight, 0).sum((1, 2)) / total.where(total > 0, 1.0)


def _count_within(region: Tensor, depth_px: int) -> Tensor:
    """Return how many pixels of each region [n, H, W], where it is above 0, have only such within `depth_px`: [n]."""
    outside = (region <= 0).float()[:, None]
    near = torch.nn.functional.max_pool2d(outside, 2 * depth_px + 1, 1, depth_px)
    return (near == 0).flatten(1).sum(1).to(region.dtype)


def mean_scores(scores: Sequence[ViewScores]) -> dict[str, float]:
    """Return the mean of each score over the views, by name; of all but the PSNR over the views that have it."""
    means = {}
    for name in (field.name for field in fields(ViewScores) if field.name != "name"):
        values = [getattr(view, name) for view in scores]
        known = values if name == "psnr_db" else [value for value in values if not math.isnan(value)]
        means[name] = sum(known) / len(known) if known else math.nan
    return means


def sort_worst_first(scores: Sequence[ViewScores]) -> list[ViewScores]:
    """Sort views by their PSNR, the lowest first; NaN before all numbers."""
    return sorted(scores, key=lambda view: -math.inf if math.isnan(view.psnr_db) else view.psnr_db)
