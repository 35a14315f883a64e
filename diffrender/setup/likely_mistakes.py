"""Try out the usual mistakes of captures: with which of them undone do masks, or pictures, agree?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from diffrender.scene.target_views import Views, concatenate_views, evenly_spaced_indices
from diffrender.setup.camera_readings import other_readings
from diffrender.setup.mask_agreement import Agreement, share_of_outlines

# Views on which mistakes are tried out.
MOST_TRIED = 12
# Another reading is right if this much of the outlines agrees, and what does not is this part of what did not.
AGREED, PART_LEFT, GAINED = 0.9, 0.3, 0.01
# Of those that are as good within this, the likelier one is named.
AS_GOOD = 0.02
# Sizes of images that intrinsics may be of, times the true one; other focal lengths, times those that are the best so
# far, in turns.
SIZE_FACTORS = (0.5, 2.0, 0.75, 4 / 3, 2 / 3, 1.5, 1 / 3, 3.0, 0.25, 4.0)
FOCAL_STEPS = (0.5, 0.7, 0.85, 1.18, 1.4, 2.0), (0.84, 0.92, 1.09, 1.19), (0.97, 1.03)
# Shares of outlines that are the same, and focal lengths that are no neighbours.
SAME_SHARE, WIDEST = 0.004, 1.6
# Sizes that are the same, and the share of views with masks at their border above which size is not tried.
SAME_FACTOR, FEW_CUT_OFF = 0.01, 0.3
# Principal points and focal lengths in pixels, of images of about SIDE pixels, that are the same.
SAME_PX = 0.5
# Masks that cover more of the images' border may mark the background.
BORDER_COVERED = 0.5
# Odd views, and others beside them, for which mistakes of single views are tried out.
MOST_ODD, BESIDE = 4, 8
WAYS = ("images", "cameras"), ("cameras", "images")
SIZE = "give fl_x, fl_y, cx and cy (and w, h) in pixels of the image files"

Change: TypeAlias = Callable[[Views], Views]


class Mistake(NamedTuple):
    """A usual mistake: what the capture then is, how to correct it, and views [N] with it undone."""

    name: str
    remedy: str
    undo: Change


class Tried(NamedTuple):
    """A mistake that was tried out. share: of what agrees once it is undone, as that of its trial."""

    name: str
    remedy: str
    share: float


def _outlines_are_explained(as_read: float, share: float) -> bool:
    return share >= AGREED and 1 - share <= PART_LEFT * (1 - as_read) and share > as_read + GAINED


class Trial(NamedTuple):
    """What came of trying mistakes, best first.

    as_read: the share for the same views as they are, of the masks' outlines, of what agrees.
    explains: whether a share is so much better than that of the views as read that the mistake is very probably it.
    """

    as_read: float
    tried: tuple[Tried, ...]
    explains: Callable[[float, float], bool] = _outlines_are_explained

    @property
    def found(self) -> Tried | None:
        """The mistake that is very probably the one."""
        best = self.tried[0] if self.tried else None
        return best if best is not None and self.explains(self.as_read, best.share) else None

    def describe(self) -> str:
        """Return the best shares in words."""
        best = ", ".join(f"{each.share:.0%} {each.name}" for each in self.tried[:3])
        return f"{self.as_read:.0%} as read; {best}"

    def as_json(self) -> dict[str, Any]:
        """Return all shares."""
        return {
            "as_read": self.as_read,
            "found": None if self.found is None else self.found.name,
            "mistakes": [each._asdict() for each in self.tried],
        }


def try_mistakes(views: Views, origin: tuple[float, float, float]) -> Trial:
    """Try mistakes that all of the small `views` (`shrink_masks`) may share.

    origin: the point of the capture's world that is the origin of `views`. If none is found with all views in
    agreement, one view is allowed to disagree with the others.
    """
    some = evenly_spaced_indices(len(views), MOST_TRIED)
    changed = [(each, each.undo(views).select(some)) for each in _but_of_focal(views, origin)]
    for tolerance in (0, 1) if len(some) > 4 else (0,):
        as_read = share_of_outlines(views.select(some), tolerance)
        tried = [(each, share_of_outlines(other, tolerance)) for each, other in changed]
        if not _are_cut_off(views):
            tried.append(_best_focal(views.select(some), tolerance))
        trial = Trial(as_read, sort_tried(tried))
        # If nearly all agree but for one view, it is that view that is wrong: any small change explains the rest.
        if tolerance == 0 or (as_read < AGREED and trial.found is not None):
            best = trial
        if best.found is not None:
            break
    return best


def _best_focal(views: Views, tolerance: int) -> tuple[Mistake, float]:
    """Return the other focal length with which most outlines agree, and their share."""
    shares: dict[float, float] = {}
    center = 1.0
    for steps in FOCAL_STEPS:
        for step in steps:
            factor = center * step
            shares[factor] = share_of_outlines(_of_focal(factor).undo(views), tolerance)
        most = max(shares.values())
        # In the middle of those that are as good.
        good = sorted(factor for factor, share in shares.items() if share > most - SAME_SHARE)
        center = (good[0] * good[-1]) ** 0.5 if good[-1] < WIDEST * good[0] else max(good, key=shares.__getitem__)
    return _of_focal(center), share_of_outlines(_of_focal(center).undo(views), tolerance)


def try_on_views(views: Views, agreement: Agreement, origin: tuple[float, float, float]) -> dict[str, Trial]:
    """Try on each odd view, beside some that agree, the mistakes that a single one of the small `views` may have.

    Among them is that it has the image of another odd view. Returns a trial by the name of the view.
    """
    sound = [view for view in range(len(views)) if view not in agreement.odd]
    beside = [sound[i] for i in evenly_spaced_indices(len(sound), BESIDE)]
    trials = {}
    # Of a mask that fills its picture, any change agrees as well.
    for view in [view for view in agreement.odd if not bool(agreement.is_full[view])][:MOST_ODD]:
        own, others = views.select([view]), views.select(beside)
        mistakes = _mistakes_of_one(own, origin)
        for other in agreement.odd[:MOST_ODD]:
            if other != view:
                mistakes.append(image_of(views, other))
        tried = [(each, share_of_outlines(concatenate_views(others, each.undo(own)))) for each in mistakes]
        trials[views.names[view]] = Trial(share_of_outlines(concatenate_views(others, own)), sort_tried(tried))
    return trials


def sort_tried(tried: Sequence[tuple[Mistake, float]], as_good: float = AS_GOOD) -> tuple[Tried, ...]:
    """Return what was tried with the best first; of those that are as good within `as_good`, the likelier one."""
    least = max((share for _, share in tried), default=0.0) - as_good
    ordered = sorted(tried, key=lambda each: (each[1] < least, -each[1] if each[1] < least else 0))
    return tuple(Tried(mistake.name, mistake.remedy, share) for mistake, share in ordered)


def mistakes_of_all(views: Views, origin: tuple[float, float, float]) -> list[Mistake]:
    """Return the mistakes that all views may share; origin: the point of the capture's world that is theirs."""
    return [*_but_of_focal(views, origin), *map(_of_focal, FOCAL_STEPS[0])]


def _but_of_focal(views: Views, origin: tuple[float, float, float]) -> list[Mistake]:
    return [
        *_of_masks(views),
        *_of_poses(views, origin),
        *_of_lenses(views),
        *mistakes_of_pictures(views),
        *_of_order(views),
    ]


def _mistakes_of_one(view: Views, origin: tuple[float, float, float]) -> list[Mistake]:
    found = [*_of_masks(view), *mistakes_of_pictures(view), *_of_poses(view, origin), *_of_lenses(view)]
    return [*found, *map(_of_focal, FOCAL_STEPS[0])]


def _of_poses(views: Views, origin: tuple[float, float, float]) -> list[Mistake]:
    return [
        Mistake(
            each.name,
            f"{each.remedy}, or state the right `convention`",
            lambda old, new=each.cameras: replace(old, cameras=new),
        )
        for each in other_readings(views.cameras, origin)
    ]


def _of_lenses(views: Views) -> list[Mistake]:
    cameras = views.cameras
    size = torch.tensor([cameras.width, cameras.height], dtype=torch.float32)
    found = []
    swapped = {"center_px": "cx and cy", "focal_px": "fl_x and fl_y"}
    unequal = [key for key in swapped if float((getattr(cameras, key) @ torch.tensor([1.0, -1])).abs().max()) > SAME_PX]
    for keys in (*([key] for key in unequal), *([unequal] if len(unequal) > 1 else [])):
        names = ", ".join(swapped[key] for key in keys)
        found.append(Mistake(f"{names} swapped", f"swap {names}", _swap(keys)))
    central = round(float((size / (2 * cameras.center_px)).mean()), 3)
    factors = [central] + [factor for factor in SIZE_FACTORS if abs(factor / central - 1) > SAME_FACTOR]
    # Where borders cut objects off, what lies beyond denies nothing: the larger the focal length, the less is denied.
    factors = [] if _are_cut_off(views) else factors
    # Most principal points are near the middle.
    off_middle = {f: float((f * cameras.center_px / size - 0.5).abs().max()) for f in factors}
    for factor in sorted(off_middle, key=off_middle.__getitem__):
        if abs(factor - 1) > SAME_PX / float(size.min()) and 0.05 < factor < 20:
            name = f"intrinsics of images {1 / factor:.3g} times as large"
            found.append(Mistake(name, f"{SIZE}: multiply them by {factor:.3g}", _rescale(factor, factor)))
    if float((cameras.center_px - size / 2).abs().max()) > SAME_PX:
        found.append(Mistake("principal point in the middle of the images", "set cx: w / 2, cy: h / 2", _with_middle))
    return found


def _are_cut_off(views: Views) -> bool:
    """Return whether many masks reach the borders of their pictures."""
    if views.masks is None:
        return False
    at_border = ((views.masks >= 0.5) & views.borders(1, 1)).flatten(1).any(1)
    return float(at_border.float().mean()) > FEW_CUT_OFF


def _of_focal(factor: float) -> Mistake:
    """Return that the true focal length is so many times as large."""
    remedy = f"check fl_x and fl_y, or camera_angle_x: in pixels about {_digits(factor)} times as large would agree"
    return Mistake(f"focal lengths {_digits(1 / factor)} times as large as true ones", remedy, _rescale(factor, 1))


def _digits(factor: float) -> str:
    """Return a factor in two digits, or in three near 1, which it is not."""
    return f"{factor:.{3 if abs(factor - 1) < 0.05 else 2}g}"


def _rescale(focal: float, center: float) -> Change:
    def undo(views: Views) -> Views:
        cameras = views.cameras
        return replace(
            views, cameras=replace(cameras, focal_px=cameras.focal_px * focal, center_px=cameras.center_px * center)
        )

    return undo


def _with_middle(views: Views) -> Views:
    middle = views.cameras.center_px.new_tensor([views.cameras.width / 2, views.cameras.height / 2])
    return replace(views, cameras=replace(views.cameras, center_px=middle.expand(len(views), 2)))


def _swap(keys: Sequence[str]) -> Change:
    def undo(views: Views) -> Views:
        return replace(
            views, cameras=replace(views.cameras, **{key: getattr(views.cameras, key).flip(1) for key in keys})
        )

    return undo


def _of_masks(views: Views) -> list[Mistake]:
    masks = views.known_masks
    if masks is None or not float(masks[views.borders(1, 1)].mean()) > BORDER_COVERED:
        return []
    remedy = "invert the mask files, or the alpha channel of the images: white or opaque must mark the object"
    return [Mistake("masks that mark the background", remedy, lambda old: _with_masks(old, lambda each: 1 - each))]


def mistakes_of_pictures(views: Views) -> list[Mistake]:
    """Return those of the image files alone."""
    mirror = "mirror the image files back"
    found = [
        Mistake("images mirrored, left for right", mirror, lambda old: _with_pictures(old, lambda each: each.flip(2))),
        Mistake("images upside down", "turn the image files by 180 degrees",
                lambda old: _with_pictures(old, lambda each: each.flip(1, 2))),
        Mistake("images mirrored, top for bottom", mirror, lambda old: _with_pictures(old, lambda each: each.flip(1))),
    ]  # fmt: skip
    if views.cameras.height == views.cameras.width:
        for turns, side in ((1, "left"), (-1, "right")):
            found.append(
                Mistake(
                    f"images turned by 90 degrees to the {'right' if turns == 1 else 'left'}",
                    f"turn the image files by 90 degrees to the {side}",
                    lambda old, k=turns: _with_pictures(old, lambda each: torch.rot90(each, k, (1, 2))),
                )
            )
    return found


def _of_order(views: Views) -> list[Mistake]:
    """Return mistakes of the order of images: shifted, reversed, or sorted as texts, by names or by numbers."""
    n = len(views)
    images, cameras = (f"{what} in the order of texts (1, 10, 2), {other} in that of numbers" for what, other in WAYS)
    orders = [
        ("each image is that of the next camera", [(i - 1) % n for i in range(n)]),
        ("each image is that of the camera before", [(i + 1) % n for i in range(n)]),
        ("images in the reverse order", list(range(n - 1, -1, -1))),
        (images, sorted(range(n), key=lambda view: _with_numbers(views.names[view]))),
        (cameras, sorted(range(n), key=lambda view: views.names[view])),
    ]
    for first in (0, 1):
        as_text = sorted(range(n), key=lambda view, first=first: str(view + first))
        orders += [(cameras, as_text), (images, sorted(range(n), key=as_text.__getitem__))]
    unique = {tuple(order): name for name, order in reversed(orders) if n > 2 and order != list(range(n))}
    remedy = "pair images and cameras anew (file_path and transform_matrix of the frames)"
    return [Mistake(name, remedy, _reorder(order)) for order, name in unique.items()]


def _with_numbers(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _reorder(order: Sequence[int]) -> Change:
    return lambda views: _with_pictures_of(views, views.select(list(order)))


def image_of(views: Views, other: int) -> Mistake:
    """Return that a view has the image of another one."""
    image = views.select([other])
    remedy = f"swap its image with that of {views.names[other]}"
    return Mistake(
        f"its image and that of {views.names[other]} swapped",
        remedy,
        lambda own: _with_pictures_of(own, image),
    )


def _with_pictures_of(views: Views, other: Views) -> Views:
    return replace(views, images=other.images, masks=other.masks, weights=other.weights)


def _with_masks(views: Views, change: Callable[[Tensor], Tensor]) -> Views:
    assert views.masks is not None
    weights = None if views.weights is None else change(views.weights)
    return replace(views, masks=change(views.masks), weights=weights)


def _with_pictures(views: Views, change: Callable[[Tensor], Tensor]) -> Views:
    """Return `views` with images, masks and weights changed by a function of tensors [N, H, W, ...]."""
    masks, weights = (None if part is None else change(part) for part in (views.masks, views.weights))
    return replace(views, images=change(views.images), masks=masks, weights=weights)
