"""Measure how far the masks of views agree with each other through their cameras: what their visual hull covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.silhouette_distance import PORTION, MaskDistanceField, MaskViews
from diffrender.imaging.filters import resize_area
from diffrender.scene.target_views import Views, evenly_spaced_indices
from diffrender.setup.region import mask_discs, sight_of_views

# The long side that masks are shrunk to, and how far beside a silhouette a point may be, in pixels of that size.
SIDE, TOLERANCE_PX = 128, 0.5
# Rays through the inside and through the outline of each mask, fewer if that would be more than MOST_RAYS in all, and
# points on each in a ball that is larger than the object by REACH.
RAYS, MOST_RAYS, SAMPLES, REACH = 60, 4000, 64, 1.2
# Views that carve the hull; all others are measured by these.
MOST_CARVING = 24
# A view is odd if it alone hides this share of the others' outlines, or if this share of its own is not covered.
HIDES, MISSES = 0.04, 0.15
# More odd views than this share are no exceptions, and of fewer views none is.
FEW, FEWEST = 1 / 3, 4
# A view does not count for the object's place if it misses it by so many times as the usual one.
STRAYING = 3.0


class Agreement(NamedTuple):
    """How far the masks of N views agree, as shares; those of single views are of the hull of others that agree.

    missed: [N] of the outline of each mask, of what is outside the others' hull; of all of a mask that fills its
    picture and has no outline; NaN of an empty mask. hides: [N] of the others' outlines, of what this view alone leaves
    uncovered.
    is_full: [N] bool, whether a mask fills what is known of its picture.
    odd: the views that disagree with the others, worst first. as_read: of all outlines, of what the hull of all views
    covers; without_odd: the same without odd views.
    """

    missed: Tensor
    hides: Tensor
    is_full: Tensor
    odd: tuple[int, ...]
    as_read: float
    without_odd: float

    @property
    def has_exceptions(self) -> bool:
        """Whether views are odd that are few."""
        return 0 < len(self.odd) <= FEW * len(self.missed)


def shrink_masks(views: Views) -> Views:
    """Return the views with masks and cameras of a long side of at most SIDE pixels, and without images."""
    cameras, masks, weights = views.cameras.without_gains(), views.masks, views.weights
    assert masks is not None
    scale = SIDE / max(cameras.height, cameras.width)
    if scale < 1:
        height, width = (max(1, round(size * scale)) for size in (cameras.height, cameras.width))
        masks = resize_area(masks[..., None], height, width, weights)[..., 0]
        weights = None if weights is None else resize_area(weights[..., None], height, width)[..., 0]
        cameras = cameras.resized(height, width)
    no_images = masks.new_zeros(()).expand(*masks.shape, 3)
    near = min(cameras.near, 1e-30)
    return Views(replace(cameras, near=near), no_images, masks, views.names, weights=weights)


def share_of_outlines(views: Views, tolerance: int = 0) -> float:
    """Return the share of the outlines of the masks of small `views` that their visual hull covers.

    tolerance: the number of views that may hide a point of the hull.
    """
    rays = _cast_rays(views, _ball(views), True)
    votes = _hidden(views, rays, torch.arange(len(views))).sum(0)
    return _share(_is_covered(votes, rays, tolerance))


def measure_agreement(views: Views) -> Agreement:
    """Measure how far the masks of small `views` (`shrink_masks`) agree, and which views disagree with the others.

    A ray through a pixel of a mask is covered if one of its points is in front of all cameras and inside all masks.
    Views that hide the others' rays are left out one by one, the worst first.
    """
    ball = _ball(views)
    outline = _cast_rays(views, ball, True)
    carving = torch.tensor(evenly_spaced_indices(len(views), MOST_CARVING))
    hidden = _hidden(views.select(carving), outline, carving)
    counts = torch.isin(outline.view, carving)
    as_read = _share(_is_covered(hidden.sum(0), outline)[counts])
    kept = torch.ones(len(carving), dtype=torch.bool)
    while int((~kept).sum()) <= FEW * len(carving):
        blame = _blame(hidden, outline.view, kept, carving)
        worst = int(blame.argmax())
        if float(blame[worst]) < HIDES:
            break
        kept[worst] = False
    trusted, votes = carving[kept], hidden[kept].sum(0)
    is_covered = _is_covered(votes, outline)
    missed = _mean_by_view(~is_covered, outline.view, len(views))
    is_full = missed.isnan() & _is_marked(views)
    if bool(is_full.any()):
        missed = missed.where(~is_full, _uncovered(views, ball, trusted))
    counts = torch.isin(outline.view, trusted)
    rays, votes = _Rays(*(part[counts] for part in outline)), votes[counts]
    known = dict(zip(carving.tolist(), hidden[:, counts], strict=True))
    hides = torch.tensor([_share_hidden(views, view, rays, votes, known, trusted) for view in range(len(views))])
    badness = torch.maximum(hides / HIDES, missed.nan_to_num(0) / MISSES)
    odd = [view for view in badness.argsort(descending=True).tolist() if float(badness[view]) > 1]
    return Agreement(missed, hides, is_full, tuple(odd), as_read, _share(is_covered[counts]))


def uncovered_masks(views: Views, agreement: Agreement) -> Tensor:
    """Return of each mask of small `views` the share [N] that is outside the hull of others that agree.

    NaN of an empty mask.
    """
    carving = evenly_spaced_indices(len(views), MOST_CARVING)
    trusted = torch.tensor([view for view in carving if view not in agreement.odd] or carving)
    return _uncovered(views, _ball(views), trusted)


def _uncovered(views: Views, ball: tuple[Tensor, float], trusted: Tensor) -> Tensor:
    """Return of each mask the share [N] that is outside the hull of the other `trusted` views; NaN of an empty one."""
    inside = _cast_rays(views, ball, False)
    votes = _hidden(views.select(trusted), inside, trusted).sum(0)
    return _mean_by_view(~_is_covered(votes, inside), inside.view, len(views))


def find_odd_views(views: Views) -> tuple[str, ...]:
    """Return the names of the few `views` whose masks disagree with all others, worst first.

    None are found without masks, or among fewer than FEWEST views.
    """
    if views.masks is None or len(views) < FEWEST:
        return ()
    agreement = measure_agreement(shrink_masks(views.to("cpu")))
    return tuple(views.names[view] for view in agreement.odd) if agreement.has_exceptions else ()


def _is_marked(views: Views) -> Tensor:
    """Return of each mask whether it marks anything [N]."""
    masks = views.known_masks
    assert masks is not None
    return (masks >= 0.5).flatten(1).any(1)


class _Rays(NamedTuple):
    """R rays through pixels of masks: of which view [R], their points [R, S, 3], and whether they meet the ball [R]."""

    view: Tensor
    points: Tensor
    meets: Tensor


def _cast_rays(views: Views, ball: tuple[Tensor, float], of_outline: bool) -> _Rays:
    """Return rays through the outline or the inside of each mask, with points in `ball` (middle [3] and radius)."""
    (center, radius), masks = ball, views.known_masks
    assert masks is not None
    count = max(1, min(RAYS, MOST_RAYS // len(views)))
    view, pixels = [], []
    for index, inside in enumerate(masks >= 0.5):
        chosen = (inside & _borders_on_known(inside, views.known_pixels[index]) if of_outline else inside).nonzero()
        chosen = chosen[evenly_spaced_indices(len(chosen), count)]
        view += [index] * len(chosen)
        pixels.append(chosen.flip(1) + 0.5)
    view_of = torch.tensor(view, dtype=torch.int64)
    eye, direction = (part[:, 0] for part in views.cameras.select(view_of).rays(torch.cat(pixels)[:, None]))
    depth = ((center - eye) * direction).sum(1)
    squared = radius**2 - (eye + depth[:, None] * direction - center).square().sum(1)
    way = depth[:, None] + squared.clamp_min(0).sqrt()[:, None] * torch.linspace(-1, 1, SAMPLES)
    return _Rays(view_of, eye[:, None] + way[..., None] * direction[:, None], squared > 0)


def _borders_on_known(inside: Tensor, known: Tensor) -> Tensor:
    """Return which pixels [H, W] have a neighbour that is known not to be `inside`."""
    from scipy.ndimage import binary_dilation

    return torch.from_numpy(binary_dilation((~inside & known).numpy()))


def _ball(views: Views) -> tuple[Tensor, float]:
    """Return middle [3] and radius of a ball about the object in most masks."""
    cameras, (middle_px, _), masks = views.cameras, mask_discs(views), views.known_masks
    assert masks is not None
    kept = torch.ones(len(views), dtype=torch.bool)
    for _ in range(3):
        center = sight_of_views(views.select(kept.nonzero()[:, 0])).point.float()
        at_px = cameras.world_to_pixels(center[None])[:, 0, :2]
        miss = (at_px - middle_px).norm(dim=1).nan_to_num(torch.inf)
        kept = miss <= max(STRAYING * float(miss.median()), 1.0)
    row, column = (torch.arange(size) + 0.5 for size in masks.shape[1:])
    x, y = column - at_px[:, 0, None, None], row[:, None] - at_px[:, 1, None, None]
    reach = (torch.hypot(x, y) * (masks >= 0.5)).amax((1, 2)) * cameras.pixel_size(center[None])[:, 0]
    reach = reach[kept & (reach > 0)]
    if not len(reach):
        return center, 1.0
    return center, REACH * float(reach[reach <= STRAYING * reach.median()].max())


def _hidden(views: Views, rays: _Rays, index: Tensor) -> Tensor:
    """Return 1 for points outside a mask of `views` or behind its camera, else 0: [N, R, S] int16.

    index: [N] of the views among those that the rays are of; none hides its own rays.
    """
    cameras, masks = views.cameras, views.masks
    assert masks is not None
    silhouettes = MaskViews(masks, views.names, cameras.project, cameras.focal_px, cameras.near, views.weights)
    field, parts = MaskDistanceField(silhouettes), []
    for points in rays.points.flatten(0, 1).split(PORTION):
        distance = field.outside(points)
        parts.append((distance > TOLERANCE_PX * cameras.pixel_size(points)) | (distance == -torch.inf))
    hidden = torch.cat(parts, 1).unflatten(1, rays.points.shape[:2])
    return (hidden & (index[:, None] != rays.view)[..., None]).to(torch.int16)


def _is_covered(votes: Tensor, rays: _Rays, tolerance: int = 0) -> Tensor:
    return (votes <= tolerance).any(1) & rays.meets


def _blame(hidden: Tensor, view: Tensor, kept: Tensor, carving: Tensor) -> Tensor:
    """Return for each kept view the share of the other kept views' rays that it hides where fewest do."""
    votes = hidden[kept].sum(0)
    least = votes.amin(1, True)
    is_best = (votes == least) & (least > 0)
    share = (hidden * is_best).sum(2) / is_best.sum(1).clamp_min(1)
    counts = torch.isin(view, carving[kept]) & (carving[:, None] != view)
    return (share * counts).sum(1) / counts.sum(1).clamp_min(1) * kept


def _share_hidden(
    views: Views, view: int, rays: _Rays, votes: Tensor, known: Mapping[int, Tensor], trusted: Tensor
) -> float:
    """Return the share of covered `rays` that a view alone hides; votes: of the trusted views, known: of some."""
    own = known[view] if view in known else _hidden(views.select([view]), rays, torch.tensor([view]))[0]
    others = votes - own if bool((trusted == view).any()) else votes
    return _share((others == 0).any(1) & ~(others + own == 0).any(1) & (rays.view != view))


def _share(found: Tensor) -> float:
    return float(found.double().mean()) if len(found) else 1.0


def _mean_by_view(found: Tensor, view: Tensor, n_views: int) -> Tensor:
    return torch.bincount(view, found.double(), n_views) / torch.bincount(view, minlength=n_views)
