"""Scores of a scene against target views: PSNR and mask IoU."""

from __future__ import annotations

import math

import torch

from diffrender.errors import ShapeError
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.metrics import MOST_DB, mask_iou, psnr_db
from diffrender.render.render import RenderViews
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

# Views per render call: enough to keep all cores busy, few enough for the memory of large images.
CHUNK = 4


@torch.no_grad()
def evaluate_views(scene: Scene, views: Views, render_views: RenderViews) -> dict[str, float]:
    """Score `scene` against `views`, rendered with their cameras; each score is the mean over views.

    psnr_db: of the whole image. psnr_masked_db: of the pixels where the target mask is above 0.5, over the views that
    have any. mask_iou: of coverage and mask, both thresholded at 0.5. Colours are sRGB, clamped to 0..1. A view counts
    with at most MOST_DB, or one perfect view would hide all others. The last two are NaN if the targets have no masks.
    Raises ShapeError if there are no views.
    """
    if len(views) == 0:
        raise ShapeError("evaluate_views: there are no views to evaluate")
    scores: dict[str, list[float]] = {"psnr_db": [], "psnr_masked_db": [], "mask_iou": []}
    for start in range(0, len(views), CHUNK):
        part = views.select(list(range(start, min(start + CHUNK, len(views)))))
        rgba = render_views(scene, part.cameras).rgba
        rendered, target = (srgb_from_linear(image).clamp(0, 1) for image in (rgba[..., :3], part.images))
        scores["psnr_db"] += psnr_db(rendered, target).clamp_max(MOST_DB).tolist()
        if part.masks is not None:
            inside = (part.masks > 0.5).to(rendered.dtype)
            scores["psnr_masked_db"] += [
                score for score in psnr_db(rendered, target, inside).clamp_max(MOST_DB).tolist() if score == score
            ]
            scores["mask_iou"] += mask_iou(rgba[..., 3], part.masks).tolist()
    return {name: sum(values) / len(values) if values else math.nan for name, values in scores.items()}
