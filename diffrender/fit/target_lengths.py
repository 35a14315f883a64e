"""Target edge lengths of a mesh during a fit."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.fit.remeshing_policy import Remeshing
from diffrender.scene.mesh import Mesh

# Decay per step of the running mean of a vertex's movements: about five steps count.
MEMORY = 0.8


class TargetLengths:
    """The target edge lengths at the vertices of one object, adapted to the speed of the vertices.

    policy: how its mesh is remeshed.
    lengths: [V] the target length at each vertex.
    drift: [V, 3] running mean of each vertex's movement per step; moves: number of steps in it.
    """

    def __init__(self, policy: Remeshing, mesh: Mesh) -> None:
        self.policy = policy
        self.lengths = policy.first_lengths(mesh)
        self.drift = torch.zeros_like(mesh.vertices)
        self.moves = 0

    def adapt(self, step: Tensor, lr_factor: float, progress: float, coarseness: float) -> None:
        """Update the lengths after a step [V, 3] of the vertices; as new tensors, so that the old ones can be restored.

        lr_factor: the factor of the learning rate, by its schedule. progress: 0..1 of the fit.
        coarseness: by how much lengths are longer than at full size, since images are small.
        """
        self.drift = self.drift.lerp(step, 1 - MEMORY)
        self.moves += 1
        # Bias correction: the running mean starts at zero.
        speed = self.drift.norm(dim=1) / (1 - MEMORY**self.moves)
        full = self.policy.full_speed * lr_factor * self.lengths
        self.lengths = self.policy.next_lengths(self.lengths, speed / full, progress, coarseness)
