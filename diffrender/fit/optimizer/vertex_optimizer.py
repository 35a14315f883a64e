"""How the vertices of one object move: an Adam, then guards, then how long edges are to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.fit.optimizer.adam import AdamSettings, AdamState, adam_step
from diffrender.fit.optimizer.flip_guard import damp_flipping_steps
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.remeshing.policy import Remeshing
from diffrender.geometry.laplacian import laplacian_vectors
from diffrender.scene.mesh import Mesh

# How much of the running mean of a vertex's movements is kept in a step: some five steps count.
MEMORY = 0.8


class VertexOptimizer:
    """Moves the latent of one object's vertices.

    remeshing: how its mesh is remeshed, or None for never.
    is_relative: whether learning rates are in target lengths of each vertex; only with remeshing.
    lengths: [V] the target length of the edges at each vertex, or None without remeshing.
    drift: [V, 3] running mean of how far each vertex went in a step, or None likewise; moves: of so many steps.
    damped, flipped: vertices and faces of the last step (diffrender.fit.optimizer.flip_guard).
    """

    def __init__(self, mesh: Mesh, remeshing: Remeshing | None, is_relative: bool) -> None:
        self.remeshing = remeshing
        self.lengths: Tensor | None = None
        self.drift: Tensor | None = None
        if remeshing is not None:
            self.lengths, self.drift = remeshing.first_lengths(mesh), torch.zeros_like(mesh.vertices)
        self.moves = self.damped = self.flipped = 0
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
        latent_before = latent.detach().clone()
        before = parametrization.value_of(latent_before)
        if self._is_relative and self.lengths is not None:
            pace = replace(pace, factor=self.lengths[:, None])
        adam_step(latent, latent.grad, moments, pace)
        self.damped = self.flipped = 0
        # Something that is not finite is found, and named, before the next step.
        if not bool(torch.isfinite(latent.sum())):
            return
        wanted = latent.detach()
        if self.remeshing is not None and self.remeshing.smoothing > 0:
            pull = laplacian_vectors(before, mesh.topology.edges)
            after = parametrization.value_of(wanted) + self.remeshing.smoothing * now.lr_factor * pull
            wanted = parametrization.latent_of(after)
        guarded = damp_flipping_steps(latent_before, wanted, parametrization.value_of, mesh.faces)
        self.damped, self.flipped = guarded.damped, guarded.flipped
        if guarded.latent is not wanted or self.remeshing is not None:
            latent.copy_(guarded.latent)
        if self.remeshing is not None:
            self._adapt(self.remeshing, guarded.vertices - before, now)

    def _adapt(self, remeshing: Remeshing, step: Tensor, now: StepProgress) -> None:
        """New target lengths; anew as tensors, so that the old ones can be gone back to."""
        assert self.lengths is not None and self.drift is not None
        self.drift = self.drift.lerp(step, 1 - MEMORY)
        self.moves += 1
        # The mean begins at zero; the divisor makes up for it.
        speed = self.drift.norm(dim=1) / (1 - MEMORY**self.moves)
        full = remeshing.full_speed * now.lr_factor * self.lengths
        self.lengths = remeshing.next_lengths(self.lengths, speed / full, now.progress)


@dataclass(frozen=True)
class StepProgress:
    """Where in a fit a step stands.

    progress: 0..1 of the steps of the fit.
    lr_factor: what the schedule multiplies the learning rate by.
    """

    progress: float
    lr_factor: float
