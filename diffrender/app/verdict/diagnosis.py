"""The check of masks and cameras against each other: which disagree, and the mistake that would explain it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from diffrender.app.verdict.reason import Reason
from diffrender.scene.target_views import Views
from diffrender.setup.epipolar_tangents import Shifts, measure_camera_errors
from diffrender.setup.likely_mistakes import Trial, try_mistakes, try_on_views
from diffrender.setup.mask_agreement import SIDE, Agreement, measure_agreement, shrink_masks

# Shares of outlines. Real captures whose masks were found by a threshold have 0.97.
SOUND, SURE, HOPELESS, CLEARLY = 0.9, 0.97, 0.5, 0.03
MOST_NAMED = 4


@dataclass(frozen=True)
class Diagnosis:
    """What the masks of a capture say of its cameras.

    agreement: how far they agree. trial: what came of trying the usual mistakes; None if they agree but for few views.
    of_views: the same of single views, by name. shifts: of pictures by which they agree; None if that is not known.
    """

    names: tuple[str, ...]
    agreement: Agreement
    trial: Trial | None = None
    of_views: dict[str, Trial] = field(default_factory=dict)
    shifts: Shifts | None = None

    def reason(self, are_found: bool = False) -> Reason | None:
        """Return what is wrong, if anything is. are_found: whether the masks are found by depth."""
        if are_found and self.trial is not None:
            return _reason_of_found(self.agreement)
        is_mistake = self.trial is not None and self.trial.found is not None
        if self.shifts is not None and self.shifts.are_of_cameras and not is_mistake:
            return _reason_of_cameras(self.agreement, self.shifts)
        if self.trial is not None:
            return _reason_of_all(self.agreement, self.trial)
        if self.agreement.has_exceptions:
            return _reason_of_few(self.names, self.agreement, self.of_views)
        return None

    def is_odd(self, view: int) -> bool:
        """Return whether a view is one of few that do not agree with the others."""
        return self.trial is None and self.agreement.has_exceptions and view in self.agreement.odd

    def facts(self) -> list[tuple[str, str]]:
        """Return what was found, as what it is about and a text."""
        told = f"{self.agreement.as_read:.1%} of the masks' outlines agree with all other masks"
        tried = [] if self.trial is None else [("tried out", self.trial.describe())]
        return [("outlines", told), *tried, *(("tried out", f"{k}: {t.describe()}") for k, t in self.of_views.items())]

    def as_json(self) -> dict[str, Any]:
        """Return all numbers."""
        found, names = self.agreement, self.names
        rows = zip(names, found.missed.tolist(), found.hides.tolist(), strict=True)
        keys = ("name", "outline_missed", "outlines_of_others_hidden")
        shifts = self.shifts
        return {
            "outlines_agree": found.as_read,
            "outlines_agree_without_odd": found.without_odd,
            "odd": [names[view] for view in found.odd],
            "views": [
                {key: None if value != value else value for key, value in zip(keys, row, strict=True)} for row in rows
            ],
            "tangents": None if shifts is None else {"apart_px": shifts.before, "apart_shifted_px": shifts.after},
            "tried": None if self.trial is None else self.trial.as_json(),
            "tried_on_views": {name: trial.as_json() for name, trial in self.of_views.items()},
        }


@torch.no_grad()
def diagnose(views: Views, origin: tuple[float, float, float]) -> Diagnosis | None:
    """Compare the masks of `views` with each other; None without masks, or if all cameras have one pose."""
    cameras = views.cameras
    is_one = bool((cameras.cam_from_world == cameras.cam_from_world[:1]).all())
    if views.masks is None or cameras.number is not None or is_one:
        return None
    small = shrink_masks(views.to("cpu"))
    agreement = measure_agreement(small)
    shifts = measure_camera_errors(small)
    # Where a few views are odd, all may share a mistake that these show best.
    is_sound = agreement.as_read >= (SURE if agreement.has_exceptions else SOUND)
    trial = None if is_sound else try_mistakes(small, origin)
    if agreement.has_exceptions and agreement.without_odd >= SOUND:
        found = None if trial is None else trial.found
        if found is None or found.share < agreement.without_odd + CLEARLY:
            return Diagnosis(views.names, agreement, None, try_on_views(small, agreement, origin), shifts)
    return Diagnosis(views.names, agreement, trial, shifts=shifts)


def _reason_of_all(agreement: Agreement, trial: Trial) -> Reason:
    found = trial.found
    if found is not None:
        return Reason(
            "likely_mistake",
            f"The masks do not fit the cameras: {trial.as_read:.0%} of their outlines agree as read, {found.share:.0%}"
            f" with this mistake undone: {found.name}",
            found.remedy[:1].upper() + found.remedy[1:],
            fails=True,
        )
    best = f"; the best is {trial.tried[0].share:.0%}, for {trial.tried[0].name}" if trial.tried else ""
    return Reason(
        "masks_contradict",
        f"The masks contradict each other: {agreement.as_read:.0%} of their outlines agree, and none of"
        f" {len(trial.tried)} usual mistakes explains it{best}",
        "Check that images, masks and cameras belong together (their order, their poses), and that all masks show the"
        " same whole object; optimize: {cameras.pose: {}} corrects poses that are nearly right",
        fails=agreement.as_read < HOPELESS,
    )


def _reason_of_found(agreement: Agreement) -> Reason:
    """Masks by depth agree with the cameras by which they were found: what does not are the masks."""
    return Reason(
        "rough_masks",
        f"The masks that were found are rough: {agreement.as_read:.0%} of their outlines agree with all other masks",
        "Give masks of your own, or start from all that the pictures show: `mesh: stereo`",
        fails=agreement.as_read < HOPELESS,
    )


def _reason_of_cameras(agreement: Agreement, shifts: Shifts) -> Reason:
    return Reason(
        "inexact_cameras",
        f"The cameras are not exact: {agreement.as_read:.0%} of the masks' outlines agree; at a long side of"
        f" {SIDE} pixels they are {shifts.before:.2g} pixels apart, and {shifts.after:.2g} if pictures are shifted",
        "optimize: {cameras.pose: {}} corrects them beside the shape; it is the default where a hull is the start",
    )


def _reason_of_few(names: tuple[str, ...], agreement: Agreement, of_views: dict[str, Trial]) -> Reason:
    remedies, described = ["Check image, mask and transform_matrix of these frames, or remove them"], []
    for view in agreement.odd[:MOST_NAMED]:
        name = names[view]
        missed, hides = float(agreement.missed[view]), float(agreement.hides[view])
        part = "mask, which fills its picture," if agreement.is_full[view] else "outline"
        own = "its mask is empty" if math.isnan(missed) else f"{missed:.0%} of its {part} misses their hull"
        described.append(f"{name} ({own}, and it cuts {hides:.0%} off theirs)")
        found = of_views[name].found if name in of_views else None
        if found is not None:
            remedies.append(f"{name}: {found.name} would explain it ({found.share:.0%} then agree): {found.remedy}")
    more = f" and {len(agreement.odd) - MOST_NAMED} more" if len(agreement.odd) > MOST_NAMED else ""
    return Reason(
        "odd_views",
        f"{len(agreement.odd)} of {len(names)} views do not agree with the others: {', '.join(described)}{more}",
        "; ".join(remedies),
    )
