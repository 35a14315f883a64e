"""The check of pictures without masks against their cameras: which do not fit, and what mistake would explain it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from diffrender.app.verdict.reason import Reason
from diffrender.errors import DataError
from diffrender.scene.target_views import Views
from diffrender.setup.likely_mistakes import Trial
from diffrender.setup.picture_agreement import INEXACT_PX, PictureAgreement, describe_misfit, measure_pictures
from diffrender.setup.picture_trials import TOLD, try_on_odd_pictures, try_on_pictures
from diffrender.setup.swept_views import sweep_views

# Mistakes are tried out from this misfit on, which COLMAP's cameras do not have.
DOUBTED_PX = INEXACT_PX / 2


@dataclass(frozen=True)
class PictureDiagnosis:
    """What pictures say of their cameras.

    agreement: how far they fit; None if they tell no depths. trial: what came of trying the usual mistakes; None if
    they fit but for few views. of_views: the same of single views, by name.
    """

    agreement: PictureAgreement | None
    trial: Trial | None = None
    of_views: dict[str, Trial] = field(default_factory=dict)

    def is_odd(self, name: str) -> bool:
        """Return whether a view is one of few that do not fit."""
        return self.trial is None and self.agreement is not None and name in self.agreement.odd

    def reason(self) -> Reason | None:
        """Return what is wrong, if anything is."""
        if self.trial is not None and self.trial.found is not None:
            found = self.trial.found
            return Reason(
                "likely_mistake",
                f"The pictures do not fit the cameras: neighbours tell the depth of {self.trial.as_read:.0%} of their"
                f" pixels as read, of {found.share:.0%} with this mistake undone: {found.name}",
                found.remedy[:1].upper() + found.remedy[1:],
                fails=True,
            )
        if self.agreement is None or self.agreement.usual < TOLD:
            told = 0.0 if self.agreement is None else self.agreement.usual
            return Reason(
                "no_depths",
                f"Neighbouring pictures tell the depth of {told:.0%} of their pixels: nothing is known of the shape"
                " before the fit, nor of its cameras",
                "Check that pictures and cameras belong together; give masks, or pictures that overlap more",
            )
        if self.agreement.odd:
            return self._reason_of_few(self.agreement)
        inexact = describe_misfit(self.agreement.misfit_px)
        if inexact is None:
            return None
        return Reason(
            "inexact_cameras",
            f"The cameras are not exact: {inexact.partition(':')[0]}",
            "optimize: {cameras.pose: {}} corrects them beside the shape; it is the default if nothing else is said",
        )

    def _reason_of_few(self, agreement: PictureAgreement) -> Reason:
        remedies = ["Check image and transform_matrix of these frames, or remove them"]
        for name, trial in self.of_views.items():
            if trial.found is not None:
                remedies.append(f"{name}: {trial.found.name} would explain it: {trial.found.remedy}")
        listed = ", ".join(f"{name} ({agreement.told[name]:.0%})" for name in agreement.odd)
        return Reason(
            "odd_views",
            f"{len(agreement.odd)} of {len(agreement.told)} views do not fit the others, or show something close in"
            f" front: neighbours tell the depth of hardly any pixel of {listed}, and usually of {agreement.usual:.0%}",
            "; ".join(remedies),
        )

    def facts(self) -> list[tuple[str, str]]:
        """Return what was found, as what it is about and a text."""
        told = 0.0 if self.agreement is None else self.agreement.usual
        facts = [("pictures", f"neighbours tell the depth of {told:.0%} of the pixels of the usual one")]
        facts += [] if self.trial is None else [("tried out", self.trial.describe())]
        return facts + [("tried out", f"{name}: {trial.describe()}") for name, trial in self.of_views.items()]

    def as_json(self) -> dict[str, Any]:
        """Return all numbers."""
        agreement = self.agreement
        return {
            "depth_told": None if agreement is None else agreement.told,
            "misfit_px": None if agreement is None else agreement.misfit_px,
            "odd": [] if agreement is None else list(agreement.odd),
            "tried": None if self.trial is None else self.trial.as_json(),
            "tried_on_views": {name: trial.as_json() for name, trial in self.of_views.items()},
        }


@torch.no_grad()
def diagnose_pictures(
    views: Views, agreement: PictureAgreement | None, origin: tuple[float, float, float]
) -> PictureDiagnosis | None:
    """Compare pictures with each other; None if they have masks of their own, or all cameras have one pose.

    agreement: what is known of it already.
    """
    cameras = views.cameras
    is_one = bool((cameras.cam_from_world == cameras.cam_from_world[:1]).all())
    if cameras.number is not None or is_one or (agreement is None and views.masks is not None):
        return None
    plain = replace(views, masks=None, weights=None)
    if agreement is None:
        try:
            agreement = measure_pictures(sweep_views(plain, None))
        except DataError:
            return PictureDiagnosis(None, try_on_pictures(plain, origin))
    if agreement.odd:
        return PictureDiagnosis(agreement, None, try_on_odd_pictures(plain, agreement))
    misfit = agreement.misfit_px
    if agreement.usual >= TOLD and misfit is not None and misfit <= DOUBTED_PX:
        return PictureDiagnosis(agreement)
    return PictureDiagnosis(agreement, try_on_pictures(plain, origin))
