"""Rollback to the state before a step, and the search for the latents that a step broke."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer


class LastGood:
    """Holds the latents, their meshes, and the target edge lengths, from before the step in progress.

    Moments change in place and are not undone; after a change of mesh, those of the earlier mesh return. The copies of
    latents are allocated once per mesh and overwritten, so that a backup costs one pass over the latents per step.

    done: number of completed steps; one is in progress between `keep` and `complete`.
    """

    def __init__(self, model: SceneModel, optimizer: FitOptimizer, first_step: int) -> None:
        self._model = model
        self._optimizer = optimizer
        self._first = self._started = self.done = first_step
        self._back_up()

    @property
    def is_at_start(self) -> bool:
        """Whether no step is complete."""
        return self.done == self._first

    def _back_up(self) -> None:
        self._template = self._model.template
        self._per_mesh_state = self._optimizer.per_mesh_state()
        self._kept = {path: latent.detach().clone() for path, latent in self._model.latents.items()}

    @torch.no_grad()
    def keep(self) -> None:
        """Back up the current latents, before a step changes them."""
        if self._model.template is not self._template:
            self._back_up()
        self._per_mesh_state = self._optimizer.per_mesh_state()
        for path, latent in self._model.latents.items():
            self._kept[path].copy_(latent)
        self._started = self.done + 1

    def complete(self) -> None:
        """Count the step in progress as done."""
        self.done = self._started

    def reopen(self) -> None:
        """Mark the last step as in progress again, so that it will be undone."""
        self.done -= 1

    def undo_unfinished(self) -> None:
        """Go back to before the step in progress, if there is one."""
        if self._started > self.done:
            self._restore()
            self._started = self.done

    @torch.no_grad()
    def _restore(self) -> None:
        """Restore latents and target lengths; after a change of mesh, also the earlier mesh and its moments."""
        if self._model.template is not self._template:
            self._model.restore(self._template, {path: kept.clone() for path, kept in self._kept.items()})
        self._optimizer.restore(self._per_mesh_state)
        for path, latent in self._model.latents.items():
            latent.copy_(self._kept[path])

    @torch.no_grad()
    def find_culprits(self, is_good: Callable[[], bool]) -> list[str]:
        """Return the paths that make `is_good` true if restored alone; none after a change of mesh."""
        found = []
        for path, latent in self._model.latents.items() if self._model.template is self._template else ():
            now = latent.detach().clone()
            latent.copy_(self._kept[path])
            if is_good():
                found.append(path)
            latent.copy_(now)
        return found


def find_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a NaN or infinity, or None; None costs one device synchronisation."""
    if not tensors:
        return None
    # A finite sum has only finite summands: one cheap pass. It may also overflow, hence the second check.
    sums = torch.stack([tensor.detach().sum() for tensor in tensors.values()])
    if bool(torch.isfinite(sums).all()):
        return None
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            return name
    return None
