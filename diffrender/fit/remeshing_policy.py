"""Remeshing policy: when a mesh is remeshed during a fit, and its target edge lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.scene.mesh import Mesh

# Area of an equilateral triangle with unit sides.
TRIANGLE = math.sqrt(3) / 4


@dataclass(frozen=True)
class Remeshing:
    """How one mesh is remeshed during a fit (after Palfinger, "Continuous remeshing for inverse rendering", 2022).

    Every vertex has a target length for the edges around it. It grows while the vertex travels and shrinks once the
    vertex rests, so that a fit starts coarse, moves far, and ends fine.

    shortest, longest: bounds of the target length, in object units; `shortest` is longer while images are much smaller.
    at: the steps before which the mesh is remeshed, or None for every `every` steps from `start` to before `stop`.
    gain: rate of change of target lengths: by the factor 1 + gain (speed - rest) per step. Speed is that of the net
        movement, a running mean, in units of full_speed; a vertex that only oscillates is at rest.
    rest: the speed at which a target length does not change.
    full_speed: the movement per step of a vertex at speed 1, as a share of its target length.
    settled: the share of the fit after which no target length is above the shortest, to which the upper bound decays
        exponentially from `longest`. 1 is the end of the fit; with more the bound does not get there.
    smoothing: the share of the way to the mean of its neighbours by which a vertex is pulled per step.
    passes: of the remesher, per remeshing.
    most_faces: of the mesh, if it can be made so coarse; target lengths are increased for it.
    subdivide: whether each face becomes four after the last remeshing, by Loop's scheme: finer, and as smooth. The
        mesh has a quarter of `most_faces` before.
    unwrap: whether an object with textures is unwrapped after the last remeshing, since the initial layout is stretched
        on the new shape.
    texture_sides: by path, the texels along each side of the textures that values of vertices become then.
    """

    shortest: float
    longest: float
    at: tuple[int, ...] | None = None
    every: int = 1
    start: int = 0
    stop: int | None = None
    gain: float = 0.3
    rest: float = 0.3
    full_speed: float = 0.3
    settled: float = 0.6
    smoothing: float = 0.0
    passes: int = 1
    most_faces: int = 100_000
    subdivide: bool = False
    unwrap: bool = False
    texture_sides: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest < math.inf:
            raise ConfigError(
                f"remesh: edge lengths must have 0 < shortest <= longest, got {self.shortest:g} and {self.longest:g}"
            )
        for name in ("every", "passes", "most_faces"):
            if getattr(self, name) < 1:
                raise ConfigError(f"remesh: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("gain", "rest", "smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"remesh: {name} must be in 0..1, got {getattr(self, name)}")
        for name in ("full_speed", "settled"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"remesh: {name} must be above 0, got {getattr(self, name)}")
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(f"remesh: stop must come after start ({self.start}), got {self.stop}")

    def is_due(self, done: int, steps: int) -> bool:
        """Return whether the mesh is remeshed after `done` of `steps` steps."""
        if done >= steps:
            return False
        if self.at is not None:
            return done in self.at
        stop = steps if self.stop is None else self.stop
        return self.start <= done < stop and (done - self.start) % self.every == 0

    def is_last(self, done: int, steps: int) -> bool:
        """Return whether the mesh is remeshed after `done` of `steps` steps, and not later."""
        return self.is_due(done, steps) and not any(self.is_due(later, steps) for later in range(done + 1, steps))

    def first_lengths(self, mesh: Mesh) -> Tensor:
        """Return the mean edge length at each vertex [V], clamped to the bounds."""
        ends = mesh.topology.edges
        length = (mesh.vertices[ends[:, 1]] - mesh.vertices[ends[:, 0]]).norm(dim=1)
        total = length.new_zeros(mesh.n_vertices).index_add(0, ends.T.reshape(-1), length.repeat(2))
        count = torch.bincount(ends.reshape(-1), minlength=mesh.n_vertices)
        return (total / count.clamp_min(1)).clamp(self.shortest, self.longest)

    def next_lengths(self, lengths: Tensor, speed: Tensor, progress: float, coarseness: float = 1.0) -> Tensor:
        """Return the target lengths [V] after a step with vertex speeds `speed` [V], at `progress` 0..1 of the fit.

        coarseness: by how much `shortest` is longer, since images are small.
        """
        shortest = min(self.shortest * coarseness, self.longest)
        bound = self.longest * (shortest / self.longest) ** min(1.0, progress / self.settled)
        return (lengths * (1 + self.gain * (speed.clamp(0, 1) - self.rest))).clamp(shortest, bound)

    def stretch(self, mesh: Mesh, lengths: Tensor) -> float:
        """Return the factor of target lengths, at least 1, with which the mesh has about `most_faces` faces at most."""
        corner = mesh.vertices[mesh.faces]
        area = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]).norm(dim=1) / 2
        expected = float((area / (TRIANGLE * lengths[mesh.faces].mean(1).square())).sum())
        return math.sqrt(max(1.0, expected / self.most_remeshed))

    @property
    def most_remeshed(self) -> int:
        """The greatest number of faces after a remeshing, before they are subdivided."""
        return max(1, self.most_faces // 4) if self.subdivide else self.most_faces
