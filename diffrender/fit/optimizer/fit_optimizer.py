"""FitOptimizer: an Adam with a learning rate, a beginning and an end for each learned value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ConfigError, FitError
from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.adam import ADAM_VARIANTS, AdamSettings, AdamState, adam_step
from diffrender.fit.optimizer.schedules import Constant, Schedule
from diffrender.fit.optimizer.vertex_optimizer import StepProgress, VertexOptimizer
from diffrender.fit.remeshing.policy import Remeshing
from diffrender.fit.remeshing.remesh_object import remesh_with_attributes
from diffrender.fit.remeshing.reunwrap import reunwrap
from diffrender.fit.timings import Phases
from diffrender.scene.fields import textures_of, vertex_fields_of
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import ParameterPath

# Adam's usual ones.
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class ParamSettings:
    """How fast one value is learned, and when.

    lr: above 0, in units of the latent: of the value itself for identity, of its logarithm for positive.
    start: the first step, from 0, at which it moves; before that it stays as it is and costs no gradient.
    stop: the first step at which it stays again, or None for the end of the fit.
    schedule: what lr is multiplied by between start and stop.
    optimizer: its name in diffrender.fit.optimizer.adam.PACES, or None for the one that the parametrisation prefers.
    betas: how much of the running means of gradients and of their squares is kept from step to step, each in 0..1.
    in_edges: vertices of a remeshed object only: lr counts in the target length of the edges at each vertex.
    """

    lr: float
    start: int = 0
    stop: int | None = None
    schedule: Schedule = field(default_factory=Constant)
    optimizer: str | None = None
    betas: tuple[float, float] = BETAS
    in_edges: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(
                f"lr must be a finite number above 0, got {self.lr}; to keep a value as it is, leave it out"
            )
        if self.start < 0:
            raise ConfigError(f"start must be at least 0, got {self.start}")
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(f"stop must come after start ({self.start}), got {self.stop}")
        if self.optimizer is not None and self.optimizer not in ADAM_VARIANTS:
            raise ConfigError(f"there is no optimizer {self.optimizer!r}; choose from {', '.join(ADAM_VARIANTS)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must lie in 0..1, 1 itself excluded, got {list(self.betas)}")

    def at(self, step: int, steps: int) -> float:
        """The learning rate at `step` of a fit of `steps`; 0 where the value stays as it is."""
        return self.lr * self.factor_at(step, steps)

    def factor_at(self, step: int, steps: int) -> float:
        """What lr is multiplied by at `step` of a fit of `steps`; 0 where the value stays as it is."""
        stop = steps if self.stop is None else min(self.stop, steps)
        if not self.start <= step < stop:
            return 0.0
        return self.schedule.factor((step - self.start) / (stop - self.start))


class FitOptimizer:
    """Adam over the latents of a model, each with a pace of its own; remeshes what is to be remeshed.

    model: whose latents are moved, in place.
    rates: by path, exactly the model's learned paths.
    steps: the length of the fit, which schedules refer to.
    remeshing: by path of an object's vertices: how its mesh is remeshed as it is fitted.

    Raises ConfigError where rates and learned paths differ, where no value moves at step 0, and for remeshing of what
    is not learned.
    """

    def __init__(
        self,
        model: SceneModel,
        rates: Mapping[str, ParamSettings],
        steps: int,
        remeshing: Mapping[str, Remeshing] | None = None,
    ) -> None:
        self._model = model
        rates = {model.full_path(path): rate for path, rate in rates.items()}
        remeshing = {model.full_path(path): options for path, options in (remeshing or {}).items()}
        _check_rates(rates, list(model.latents), steps)
        self._steps = steps
        self._rates = {path: rates[path] for path in model.latents}
        self._names = {path: rate.optimizer or model.parametrization(path).optimizer for path, rate in rates.items()}
        self._step = 0
        self._moments = {path: AdamState.fresh(self._names[path], latent) for path, latent in model.latents.items()}
        self._motions: dict[str, VertexOptimizer] = {}
        for path, rate in self._rates.items():
            if ParameterPath.parse(path).is_vertices:
                self._motions[path] = VertexOptimizer(self._mesh(path), remeshing.pop(path, None), rate.in_edges)
        if remeshing:
            wrong = ", ".join(remeshing)
            raise ConfigError(f"remesh: only an object whose mesh.vertices are learned can be remeshed, got {wrong}")

    def begin(self, step: int) -> list[str]:
        """Prepare `step`: learning rates set, gradients empty and asked for only where a value moves.

        Returns the paths that move.
        """
        self._step = step
        moving = []
        for path, latent in self._model.latents.items():
            latent.grad = None
            latent.requires_grad_(self._rates[path].at(step, self._steps) > 0)
            if latent.requires_grad:
                moving.append(path)
        return moving

    def step(self, phases: Phases | None = None) -> None:
        """Move the latents along their gradients; one without a gradient stays. Remesh what is due.

        phases: adds up how long that takes.
        """
        phases = phases or Phases()
        with phases.timed("update"):
            self._move()
        with phases.timed("remesh"):
            for path, motion in self._motions.items():
                if motion.remeshing is not None and motion.remeshing.is_due(self._step + 1, self._steps):
                    self._remesh(path, motion)
                    if motion.remeshing.unwrap and motion.remeshing.is_last(self._step + 1, self._steps):
                        self._unwrap(path)

    def _move(self) -> None:
        for path, latent in self._model.latents.items():
            if latent.grad is None:
                continue
            rate = self._rates[path]
            pace = AdamSettings(self._names[path], rate.at(self._step, self._steps), rate.betas)
            motion = self._motions.get(path)
            if motion is None:
                adam_step(latent, latent.grad, self._moments[path], pace)
            else:
                parametrization, mesh = self._model.parametrization(path), self._mesh(path)
                now = StepProgress((self._step + 1) / self._steps, rate.factor_at(self._step, self._steps))
                motion.move(parametrization, mesh, latent, self._moments[path], pace, now)

    def geometry(self) -> dict[str, int]:
        """Of all learned meshes together: vertices now; damped vertices and flipped faces of the last step."""
        motions = self._motions
        return {
            "vertices": sum(self._mesh(path).n_vertices for path in motions),
            "damped": sum(motion.damped for motion in motions.values()),
            "flipped": sum(motion.flipped for motion in motions.values()),
        }

    def _mesh(self, path: str) -> Mesh:
        return self._model.frame.scene.objects[ParameterPath.parse(path).name].mesh

    @torch.no_grad()
    def _remesh(self, path: str, motion: VertexOptimizer) -> None:
        """Other triangles for the object whose vertices stand at `path`; all that its vertices carry goes along."""
        model, frame, latents = self._model, self._model.frame, self._model.latents
        name = ParameterPath.parse(path).name
        assert motion.remeshing is not None
        assert motion.lengths is not None and motion.drift is not None
        item = frame.scene.objects[name]
        mesh = item.mesh.with_vertices(model.parametrization(path).value_of(latents[path].detach()))
        if not bool(torch.isfinite(mesh.vertices.sum())):
            return
        fields = vertex_fields_of(item.material, item.mesh.n_vertices)
        at_vertices = {str(ParameterPath.material(name, field)): field for field in fields}
        learned = [other for other in at_vertices if other in latents]
        rows = {"drift": motion.drift} | {f"field {field}": value for field, value in fields.items()}
        rows |= {f"latent {other}": latents[other] for other in learned}
        for other in (path, *learned):
            rows[f"speed {other}"], rows[f"root {other}"] = self._moments[other].rows()
        stretch = motion.remeshing.stretch(mesh, motion.lengths)
        found = remesh_with_attributes(mesh, rows, motion.lengths * stretch, motion.remeshing.passes)

        new_latents = {other: latent.detach() for other, latent in latents.items()}
        new_fields = {field: found.rows[f"field {field}"] for field in fields}
        for other in learned:
            new_latents[other] = found.rows[f"latent {other}"]
            new_fields[at_vertices[other]] = model.parametrization(other).value_of(new_latents[other])
        frame = model.with_mesh(frame, name, item.with_values(new_fields, found.mesh))
        new_latents[path] = frame.parametrizations[path].latent_of(found.mesh.vertices)
        moments = dict(self._moments)
        for other in (path, *learned):
            moments[other] = moments[other].with_rows(found.rows[f"speed {other}"], found.rows[f"root {other}"])
        model.restore(frame, new_latents)
        self._moments = moments
        motion.lengths, motion.drift = found.lengths / stretch, found.rows["drift"]

    @torch.no_grad()
    def _unwrap(self, path: str) -> None:
        """Other texture coordinates for the object whose vertices stand at `path`; its textures go along."""
        name = ParameterPath.parse(path).name
        is_finite = bool(torch.isfinite(self._model.latents[path].sum()))
        if not (is_finite and textures_of(self._model.frame.scene.objects[name].material)):
            return
        found = reunwrap(self._model, name, self._moments, self._names)
        self._model.restore(found.frame, found.latents)
        self._moments = found.moments

    def per_mesh_state(self) -> PerMeshState:
        """What a change of a mesh replaces: kept, and given to `restore`, it belongs to the mesh of now again."""
        return PerMeshState(self._moments, {path: (each.lengths, each.drift) for path, each in self._motions.items()})

    def restore(self, state: PerMeshState) -> None:
        """Take over what `per_mesh_state` gave when the model had the meshes that it has now again."""
        self._moments = state.moments
        for path, (lengths, drift) in state.motions.items():
            self._motions[path].lengths, self._motions[path].drift = lengths, drift

    def state_dict(self) -> dict[str, Any]:
        """Paths, optimisers, moments and target lengths, as tensors and plain containers."""
        return {
            "paths": list(self._rates),
            "optimizers": dict(self._names),
            "moments": {
                path: {"count": each.count, "mean": each.mean, "square": each.square}
                for path, each in self._moments.items()
            },
            "motions": {
                path: {"lengths": each.lengths, "drift": each.drift, "moves": each.moves}
                for path, each in self._motions.items()
                if each.remeshing is not None
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the moments of another optimiser of the same paths. Raises FitError for other paths."""
        if state["paths"] != list(self._rates):
            raise FitError(f"the saved state learned {state['paths']}, this fit {list(self._rates)}; keep `optimize:`")
        if state["optimizers"] != self._names:
            raise FitError(
                f"the saved state was moved by {state['optimizers']}, this fit by {self._names}; keep `optimize:`"
            )
        remeshed = [path for path, motion in self._motions.items() if motion.remeshing is not None]
        if list(state["motions"]) != remeshed:
            raise FitError(
                f"the saved state remeshed {list(state['motions'])}, this fit {remeshed}; keep `remesh:` as it was"
            )
        self._moments = {
            path: AdamState(*(saved[name].clone() for name in ("count", "mean", "square")))
            for path, saved in state["moments"].items()
        }
        for path, saved in state["motions"].items():
            motion = self._motions[path]
            motion.lengths, motion.drift, motion.moves = saved["lengths"], saved["drift"], saved["moves"]


class PerMeshState(NamedTuple):
    """Moments by path, and target lengths and drifts by path of vertices."""

    moments: dict[str, AdamState]
    motions: dict[str, tuple[Tensor | None, Tensor | None]]


def _check_rates(rates: Mapping[str, ParamSettings], paths: list[str], steps: int) -> None:
    if set(rates) != set(paths):
        differing = ", ".join(sorted(set(rates) ^ set(paths)))
        raise ConfigError(f"every learned value needs one rate and every rate a learned value; check {differing}")
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, got {steps}")
    if not any(rate.at(0, steps) > 0 for rate in rates.values()):
        raise ConfigError("nothing moves at step 0; give at least one value start: 0")
    late = [path for path, rate in rates.items() if rate.start >= steps]
    if late:
        raise ConfigError(f"{', '.join(late)}: start must come before the end of the fit, at step {steps}")
