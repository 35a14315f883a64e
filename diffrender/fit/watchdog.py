"""The checks of a step: nothing may be non-finite, and everything learned must matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

import torch
from torch import Tensor

from diffrender.errors import DiffrenderError, FitError
from diffrender.fit.batches import Batches
from diffrender.fit.model import SceneModel
from diffrender.fit.nonfinite_diagnosis import bad_gradients, bad_terms, influences
from diffrender.fit.objective import Terms
from diffrender.fit.rollback import LastGood, first_nonfinite


class NonFiniteError(Exception):
    """Ends a fit from inside a step; the message is for people."""


class Watchdog:
    """Ends a fit with the last good state in place, and says what became non-finite, where and through what.

    last_good: the state to go back to. batches, names: which views each step looks at, and the names of all.
    terms_at: (indices of views, step) to the terms of the model as it is now.

    Each check raises NonFiniteError; at the very start of a fit, or for a value without influence, FitError.
    """

    def __init__(
        self,
        model: SceneModel,
        last_good: LastGood,
        batches: Batches,
        names: tuple[str, ...],
        terms_at: Callable[[Tensor | None, int], Terms],
    ) -> None:
        self._model = model
        self._last_good = last_good
        self._batches = batches
        self._names = names
        self._terms_at = terms_at

    def check_values(self, values: Mapping[str, Tensor]) -> None:
        """Of the learned values that the last step left."""
        path = first_nonfinite(values)
        if path is None:
            return
        if self._last_good.is_at_start:
            raise FitError(f"the value of {path} is not finite at the start of the fit; check where it comes from")
        self._last_good.reopen()
        self._stop(f"step {self._last_good.done} made {path} non-finite")

    def check_terms(self, step: int, numbers: Collection[float], terms: Terms) -> None:
        """Of the objective. numbers: `terms` as numbers, the total too."""
        if all(map(math.isfinite, numbers)):
            return
        found = "; ".join(bad_terms(terms, self._names_of(step)))
        if self._last_good.is_at_start:
            suspects = ", ".join(influences(terms, self._model.latents))
            self._stop(f"step {step}: {found}, from the start; it depends on {suspects or 'nothing that is learned'}")
        # From here on Ctrl-C goes back too, whatever the search has done to the latents by then.
        self._last_good.reopen()
        culprits = self._last_good.culprits(lambda: self._is_finite_at(step)) or list(self._model.latents)
        self._stop(f"step {step}: {found}, after the last change of {', '.join(culprits)}")

    def check_gradients(self, step: int) -> None:
        """Of all latents."""
        gradients = {path: latent.grad for path, latent in self._model.latents.items() if latent.grad is not None}
        path = first_nonfinite(gradients)
        if path is None:
            return
        causes = []
        # View by view: an infinity in one of them times the zero that the others ask for would look like theirs too.
        for index, view in zip(self._indices(step), self._names_of(step), strict=True):
            terms = self._terms_at(index, step)
            bad = bad_gradients(terms, self._model.latents[path])
            causes += [f"loss term {name}" + (f" in {view}" if name in terms.per_view else "") for name in bad]
        found = ", ".join(dict.fromkeys(causes)) or "the total"
        self._stop(f"step {step}: the gradient of {path} is not finite, from {found}")

    def ask_for_all_gradients(self) -> None:
        """For `check_influence`: a value that nothing depends on is found now and not at its late start."""
        for latent in self._model.latents.values():
            latent.requires_grad_(True)

    def check_influence(self, moving: Collection[str]) -> None:
        """Of all latents on the objective; then drop the gradients of those that are not `moving` yet."""
        idle = [path for path, latent in self._model.latents.items() if latent.grad is None]
        if idle:
            raise FitError(
                f"{', '.join(idle)}: no term of the loss depends on it, so it cannot be learned; take it out of"
                " `optimize:`, or check that the object is in view, that the material is lit where lights are learned,"
                " and that render.edges is not hard where shapes are"
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
        """The views of `step`, each as a batch of one: [1] int64."""
        index = self._batches.at(step)
        return list((torch.arange(len(self._names)) if index is None else index).split(1))

    def _stop(self, what: str) -> NoReturn:
        self._last_good.undo_unfinished()
        if self._last_good.is_at_start:
            raise NonFiniteError(f"{what}. The fit stays at its start")
        done = self._last_good.done
        raise NonFiniteError(f"{what}. The state after {done} steps is kept; a smaller lr may help")
