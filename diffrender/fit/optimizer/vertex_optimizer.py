"""The optimiser of the vertices of one object: an Adam step, then the flip guard, then target edge lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.fit.optimizer.adam import AdamSettings, AdamState, adam_step
from diffrender.fit.optimizer.flip_guard import damp_flipping_steps
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.target_lengths import TargetLengths
from diffrender.geometry.topology import Topology
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.scene.mesh import Mesh


@dataclass(frozen=True)
class StepProgress:
    """The position of a step in a fit.

    progress: 0..1 of the steps of the fit.
    lr_factor: the factor of the learning rate, by its schedule.
    coarseness: by how much target edge lengths are longer than at full size, since images are small.
    """

    progress: float
    lr_factor: float
    coarseness: float


class VertexOptimizer:
    """Optimises the latent of one object's vertices.

    target_lengths: of the edges, or None if the object is never remeshed.
    is_relative: whether learning rates are in units of the target length at each vertex; requires target_lengths.
    damped, flipped: number of damped vertices and flipped faces of the last step (diffrender.fit.optimizer.flip_guard).
    """

    def __init__(self, target_lengths: TargetLengths | None, is_relative: bool) -> None:
        self.target_lengths = target_lengths
        self.damped = self.flipped = 0
        self._is_relative = is_relative

    @torch.no_grad()
    def move(
        self,
        parametrization: Parametrization,
        mesh: Mesh,
        latent: Tensor,
        moments: AdamState,
        settings: AdamSettings,
        now: StepProgress,
    ) -> None:
        """Move `latent` by one step along its gradient, in place.

        parametrization: bound to `mesh`, of which only faces and topology are used.
        """
        assert latent.grad is not None
        targets = self.target_lengths
        latent_before = latent.detach().clone()
        before = parametrization.value_of(latent_before)
        if self._is_relative and targets is not None:
            settings = replace(settings, factor=targets.lengths[:, None])
        adam_step(latent, latent.grad, moments, settings)
        self.damped = self.flipped = 0
        # Non-finite values are reported before the next step.
        if not bool(torch.isfinite(latent.sum())):
            return
        proposed = latent.detach()
        if targets is not None and targets.policy.smoothing > 0:
            pull = _pull_to_neighbours(before, mesh.topology)
            after = parametrization.value_of(proposed) + targets.policy.smoothing * now.lr_factor * pull
            proposed = parametrization.latent_of(after)
        guarded = damp_flipping_steps(latent_before, proposed, parametrization.value_of, mesh.faces)
        self.damped, self.flipped = guarded.damped, guarded.flipped
        if guarded.latent is not proposed or targets is not None:
            latent.copy_(guarded.latent)
        if targets is not None:
            targets.adapt(guarded.vertices - before, now.lr_factor, now.progress, now.coarseness)


def _pull_to_neighbours(vertices: Tensor, topology: Topology) -> Tensor:
    """Return the way of each of the vertices [V, 3] to the mean of its neighbours; at a border, of those along it."""
    pull = laplacian_vectors(vertices, topology.edges)
    border = topology.edges[topology.is_border]
    if not len(border):
        return pull
    # Pulled inwards, a border would retreat at every step.
    is_on_border = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
    is_on_border[border] = True
    return torch.where(is_on_border[:, None], laplacian_vectors(vertices, border), pull)
