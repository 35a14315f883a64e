"""The check of pictures without masks against their cameras: which do not fit, and what mistake would explain it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from diffrender.app.verdict.reason import Reason
from diffrender.errors import DataError
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.target_views import Views
from diffrender.setup.likely_mistakes import Trial
from diffrender.setup.picture_agreement import ENOUGH, INEXACT_PX, PictureAgreement, describe_misfit, measure_pictures
from diffrender.setup.picture_trials import try_on_odd_pictures, try_on_pictures
from diffrender.setup.swept_views import FEWEST, shrink_views, sweep_views

# Mistakes are tried out from this misfit on, which COLMAP's cameras do not have.
DOUBTED_PX = INEXACT_PX / 2
# Cameras that are closer together than this part of their distance from the origin are at one place.
SAME_PLACE = 1e-4
MOST_NAMED = 4


@dataclass(frozen=True)
class PictureDiagnosis:
    """What pictures say of their cameras.

    agreement: how far they fit; None if they tell no depths. trial: what came of trying the usual mistakes; None if
    they fit, maybe but for few views. of_views: the same of these views, by name.
    """

    agreement: PictureAgreement | None
    trial: Trial | None = None
    of_views: dict[str, Trial] = field(default_factory=dict)

    def is_odd(self, name: str) -> bool:
        """Return whether a view is one of few that do not fit."""
        return self.agreement is not None and name in self.agreement.odd

    def reasons(self) -> list[Reason]:
        """Return what is wrong, the likely cause first."""
        if self.trial is not None and self.trial.found is not None:
            found = self.trial.found
            return [Reason(
                "likely_mistake",
                f"The pictures do not fit the cameras: neighbours tell the depth of {self.trial.as_read:.0%} of their"
                f" pixels as read, of {found.share:.0%} with this mistake undone: {found.name}",
                found.remedy[:1].upper() + found.remedy[1:],
                fails=True,
            )]  # fmt: skip
        told, misfit = (0.0, None) if self.agreement is None else (self.agreement.usual, self.agreement.misfit_px)
        # By chance wrong cameras tell up to .07, which does not fit; an object of few colours on plain ground .09.
        if self.agreement is None or (told < ENOUGH and (misfit is None or misfit > INEXACT_PX)):
            return [Reason(
                "no_depths",
                f"Neighbouring pictures tell the depth of {told:.0%} of their pixels: nothing tells whether cameras"
                " are right, nor of a shape to start from",
                "Check that pictures and cameras belong together; give masks, or pictures that overlap more",
            )]  # fmt: skip
        reasons = [self._reason_of_few(self.agreement)] if self.agreement.odd else []
        inexact = describe_misfit(misfit)
        if inexact is not None:
            reasons.append(Reason(
                "inexact_cameras",
                f"The cameras are not exact: {inexact.partition(':')[0]}",
                "optimize: {cameras.pose: {}} corrects them beside the shape; it is the default if all is left open",
            ))  # fmt: skip
        return reasons

    def _reason_of_few(self, agreement: PictureAgreement) -> Reason:
        remedies = ["Check image and transform_matrix of these frames, or remove them"]
        for name, trial in self.of_views.items():
            if trial.found is not None:
                remedies.append(f"{name}: {trial.found.name} would explain it: {trial.found.remedy}")
        odd = agreement.odd
        listed = ", ".join(f"{name} ({agreement.told[name]:.0%})" for name in odd[:MOST_NAMED])
        more = f" and {len(odd) - MOST_NAMED} more" if len(odd) > MOST_NAMED else ""
        return Reason(
            "odd_views",
            f"{len(odd)} of {len(agreement.views)} views do not fit the others, or show something close in front:"
            f" neighbours tell the depth of hardly any pixel of {listed}{more}, and usually of {agreement.usual:.0%}",
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
    """Compare pictures with each other; None if they have masks of their own, or cameras that tell no depths.

    agreement: what is known of it already.
    """
    cameras = views.cameras
    eyes = cameras.positions_w()
    apart, size = (each.norm(dim=1).max() for each in (eyes - eyes[:1], eyes + eyes.new_tensor(origin)))
    is_able = len(views) >= FEWEST and isinstance(cameras.projection, Perspective) and bool(apart > SAME_PLACE * size)
    if cameras.number is not None or not is_able or (agreement is None and views.masks is not None):
        return None
    if agreement is None:
        try:
            agreement = measure_pictures(sweep_views(views, None))
        except DataError:
            return PictureDiagnosis(None, try_on_pictures(shrink_views(views), origin))
    of_views = try_on_odd_pictures(agreement) if agreement.odd else {}
    misfit = agreement.misfit_px
    if agreement.usual >= ENOUGH and misfit is not None and misfit <= DOUBTED_PX:
        return PictureDiagnosis(agreement, None, of_views)
    index = {name: view for view, name in enumerate(agreement.views.names)}
    in_order = [index[name] for name in views.names if name in index and name not in agreement.odd]
    return PictureDiagnosis(agreement, try_on_pictures(agreement.views.select(in_order), origin), of_views)
