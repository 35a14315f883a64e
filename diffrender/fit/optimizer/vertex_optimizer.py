"""How the vertices of one object move: an Adam, then guards, then how long edges are to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.fit.optimizer.adam import AdamSettings, AdamState, adam_step
from diffrender.fit.optimizer.flip_guard import damp_flipping_steps
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.remeshing.target_lengths import TargetLengths
from diffrender.geometry.laplacian import laplacian_vectors
from diffrender.scene.mesh import Mesh


@dataclass(frozen=True)
class StepProgress:
    """Where in a fit a step is.

    progress: 0..1 of the steps of the fit.
    lr_factor: what the schedule multiplies the learning rate by.
    """

    progress: float
    lr_factor: float


class VertexOptimizer:
    """Moves the latent of one object's vertices.

    targets: how long its edges are to be, or None if it is never remeshed.
    is_relative: whether learning rates are in target lengths of each vertex; only with targets.
    damped, flipped: vertices and faces of the last step (diffrender.fit.optimizer.flip_guard).
    """

    def __init__(self, targets: TargetLengths | None, is_relative: bool) -> None:
        self.targets = targets
        self.damped = self.flipped = 0
        self._is_relative = is_relative

    @torch.no_grad()
    def move(
        self,
        parametrization: Parametrization,
        mesh: Mesh,
        latent: Tensor,
        moments: AdamState,
        pace: AdamSettings,
        now: StepProgress,
    ) -> None:
        """One step of `latent` along its gradient.

        parametrization: bound to `mesh`, of which only faces and topology count.
        """
        assert latent.grad is not None
        targets = self.targets
        latent_before = latent.detach().clone()
        before = parametrization.value_of(latent_before)
        if self._is_relative and targets is not None:
            pace = replace(pace, factor=targets.lengths[:, None])
        adam_step(latent, latent.grad, moments, pace)
        self.damped = self.flipped = 0
        # Something that is not finite is found, and named, before the next step.
        if not bool(torch.isfinite(latent.sum())):
            return
        wanted = latent.detach()
        if targets is not None and targets.policy.smoothing > 0:
            pull = laplacian_vectors(before, mesh.topology.edges)
            after = parametrization.value_of(wanted) + targets.policy.smoothing * now.lr_factor * pull
            wanted = parametrization.latent_of(after)
        guarded = damp_flipping_steps(latent_before, wanted, parametrization.value_of, mesh.faces)
        self.damped, self.flipped = guarded.damped, guarded.flipped
        if guarded.latent is not wanted or targets is not None:
            latent.copy_(guarded.latent)
        if targets is not None:
            targets.adapt(guarded.vertices - before, now.lr_factor, now.progress)
