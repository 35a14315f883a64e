"""How long the edges of a mesh are to be as a fit goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.fit.remeshing.policy import Remeshing
from diffrender.scene.mesh import Mesh

# How much of the running mean of a vertex's movements is kept in a step: some five steps count.
MEMORY = 0.8


class TargetLengths:
    """The target lengths of the edges at the vertices of one object; they follow how fast the vertices travel.

    policy: how its mesh is remeshed.
    lengths: [V] the target length at each vertex.
    drift: [V, 3] running mean of how far each vertex went in a step; moves: over how many steps.
    """

    def __init__(self, policy: Remeshing, mesh: Mesh) -> None:
        self.policy = policy
        self.lengths = policy.first_lengths(mesh)
        self.drift = torch.zeros_like(mesh.vertices)
        self.moves = 0

    def adapt(self, step: Tensor, lr_factor: float, progress: float) -> None:
        """Take the lengths after a step [V, 3] of the vertices; new tensors, so that the old ones can be restored.

        lr_factor: what the schedule multiplies the learning rate by. progress: 0..1 of the fit.
        """
        self.drift = self.drift.lerp(step, 1 - MEMORY)
        self.moves += 1
        # The mean begins at zero; the divisor makes up for it.
        speed = self.drift.norm(dim=1) / (1 - MEMORY**self.moves)
        full = self.policy.full_speed * lr_factor * self.lengths
        self.lengths = self.policy.next_lengths(self.lengths, speed / full, progress)
