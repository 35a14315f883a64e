"""The checks of a step: all numbers must be finite, and all learned values must influence the objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NoReturn

import torch
from torch import Tensor

from diffrender.errors import DiffrenderError, FitError
from diffrender.fit.batches import Batches
from diffrender.fit.model import SceneModel
from diffrender.fit.nonfinite_diagnosis import describe_bad_terms, find_bad_gradients, find_influences
from diffrender.fit.objective import Terms
from diffrender.fit.program import ROOT
from diffrender.fit.reach import FAR, Reach
from diffrender.fit.rollback import LastGood, find_nonfinite


class NonFiniteError(Exception):
    """Ends a fit from inside a step; the message is for the user. stop_reason: that of the fit."""

    stop_reason: Literal["non_finite", "diverged"] = "non_finite"


class DivergedError(NonFiniteError):
    """Ends a fit whose numbers are finite, but mean nothing any more."""

    stop_reason = "diverged"


class Watchdog:
    """Checks each step; on failure it restores the last good state and reports what is non-finite, where and why.

    last_good: the state to restore. batches, names: the views of each step, and the names of all views.
    terms_at: (indices of views, step) -> the terms of the model in its current state. reach: of its vertices.

    Each check raises NonFiniteError; FitError for a value that is non-finite at the start or without influence.
    """

    def __init__(
        self,
        model: SceneModel,
        last_good: LastGood,
        batches: Batches,
        names: tuple[str, ...],
        terms_at: Callable[[Tensor | None, int], Terms],
        reach: Reach,
    ) -> None:
        self._model = model
        self._last_good = last_good
        self._batches = batches
        self._names = names
        self._terms_at = terms_at
        self._reach = reach

    def check_values(self, values: Mapping[str, Tensor]) -> None:
        """Check the learned values after the last step."""
        path = find_nonfinite(values)
        if path is None:
            far = self._reach.find_far(values)
            if far is not None and not self._last_good.is_at_start:
                self._last_good.reopen()
                what = (
                    f"step {self._last_good.done} moved some of {far} more than {FAR:g} times as far as the cameras are"
                )
                self._stop(what, DivergedError)
            return
        if self._last_good.is_at_start:
            raise FitError(f"the value of {path} is not finite at the start of the fit; check its source")
        self._last_good.reopen()
        self._stop(f"step {self._last_good.done} made {path} non-finite")

    def check_terms(self, step: int, numbers: Collection[float], terms: Terms) -> None:
        """Check the objective. numbers: `terms` and their total as floats."""
        if all(map(math.isfinite, numbers)):
            return
        found = "; ".join(describe_bad_terms(terms, self._names_of(step)))
        if self._last_good.is_at_start:
            suspects = ", ".join(find_influences(terms, self._model.latents))
            self._stop(f"step {step}: {found}, from the start; it depends on {suspects or 'no learned value'}")
        # From here on Ctrl-C restores the state too, since the search modifies the latents.
        self._last_good.reopen()
        culprits = self._last_good.find_culprits(lambda: self._is_finite_at(step)) or list(self._model.latents)
        self._stop(f"step {step}: {found}, after the last change of {', '.join(culprits)}")

    def check_gradients(self, step: int) -> None:
        """Check the gradients of all latents."""
        gradients = {path: latent.grad for path, latent in self._model.latents.items() if latent.grad is not None}
        path = find_nonfinite(gradients)
        if path is None:
            return
        causes = []
        # View by view: in a batch, an infinity of one view times the zero gradient of the others would blame all views.
        for index, view in zip(self._indices(step), self._names_of(step), strict=True):
            terms = self._terms_at(index, step)
            bad = find_bad_gradients(terms, self._model.latents[path])
            causes += [f"loss term {name}" + (f" in {view}" if name in terms.per_view else "") for name in bad]
        found = ", ".join(dict.fromkeys(causes)) or "the total"
        hint = ""
        if path.startswith(f"{ROOT}."):
            hint = "; a function in the program may have no finite slope where it is, as sqrt and a norm at 0"
        self._stop(f"step {step}: the gradient of {path} is not finite, from {found}{hint}")

    def require_all_gradients(self) -> None:
        """Enable all gradients for `check_influence`, which then also finds values that only start later."""
        for latent in self._model.latents.values():
            latent.requires_grad_(True)

    def check_influence(self, moving: Collection[str]) -> None:
        """Check that all latents influence the objective; drop the gradients of those that are not `moving` yet."""
        idle = [path for path, latent in self._model.latents.items() if latent.grad is None]
        if idle:
            what = f"{', '.join(idle)}: no term of the loss depends on it, so it cannot be learned"
            if all(path.startswith(f"{ROOT}.") for path in idle):
                raise FitError(
                    f"{what}: the program does not use it, or loses its derivative, as .detach(), .item(), .numpy(),"
                    " float() and torch.tensor() do, or what follows from it is not in view; fix it (`optimize:"
                    f" {{{idle[0]}: off}}`) or leave it out of the parameters"
                )
            raise FitError(
                f"{what}; remove it from `optimize:`, or check that the object is in view, that the material is lit"
                " where lights are learned, and that render.edges is not hard where shapes are"
            )
        for path, latent in self._model.latents.items():
            if path not in moving:
                latent.grad = None
                latent.requires_grad_(False)

    def _is_finite_at(self, step: int) -> bool:
        try:
            terms = self._terms_at(self._batches.at(step), step)
        except DiffrenderError:
            return False
        return bool(torch.isfinite(terms.total))

    def _names_of(self, step: int) -> list[str]:
        return [self._names[int(index)] for index in self._indices(step)]

    def _indices(self, step: int) -> list[Tensor]:
        """Return the views of `step`, each as a batch of one: [1] int64."""
        index = self._batches.at(step)
        return list((torch.arange(len(self._names), device="cpu") if index is None else index).split(1))

    def _stop(self, what: str, kind: type[NonFiniteError] = NonFiniteError) -> NoReturn:
        self._last_good.undo_unfinished()
        if self._last_good.is_at_start:
            raise kind(f"{what}. The fit stays at its start" + ("; a smaller lr may help" * (kind is DivergedError)))
        done = self._last_good.done
        raise kind(f"{what}. The state after {done} steps is kept; a smaller lr may help")
