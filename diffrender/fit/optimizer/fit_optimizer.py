"""FitOptimizer: Adam with its own learning rate, start and stop per learned value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from diffrender.errors import ConfigError, FitError
from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.adam import ADAM_VARIANTS, AdamSettings, AdamState, adam_step
from diffrender.fit.optimizer.schedules import Constant, Schedule
from diffrender.fit.optimizer.vertex_optimizer import StepProgress, VertexOptimizer
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.fit.target_lengths import TargetLengths
from diffrender.scene.joined_parts import surfaces_of
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import ParameterPath

Settings = TypeVar("Settings")

# Adam's usual betas.
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class ParamSettings:
    """The learning rate, start and stop of one learned value.

    lr: above 0, in units of the latent: of the value itself for identity, of its logarithm for positive.
    start: the first step, from 0, at which it is optimised; before that it is fixed and costs no gradient.
    stop: the first step at which it is fixed again, or None for the end of the fit.
    schedule: the factor of lr between start and stop.
    optimizer: its name in ADAM_VARIANTS, or None for the default of the parametrisation.
    betas: decay of the running means of gradients and of their squares, each in 0..1, 1 excluded.
    in_edges: vertices of a remeshed object only: lr is in units of the target edge length at each vertex.
    pull: of values that are not vertices: each step pulls the latent back by lr * pull of the way to its start.
        Separate from Adam's step, as weight decay in I. Loshchilov and F. Hutter, "Decoupled weight decay
        regularization" (2019): a prior whose strength does not depend on the units of the objective, and outweighs
        gradients that are mere noise, which Adam would follow at full length.
    """

    lr: float
    start: int = 0
    stop: int | None = None
    schedule: Schedule = field(default_factory=Constant)
    optimizer: str | None = None
    betas: tuple[float, float] = BETAS
    in_edges: bool = False
    pull: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr must be a finite number above 0, got {self.lr}; to keep a value fixed, remove it")
        if not (math.isfinite(self.pull) and self.pull >= 0):
            raise ConfigError(f"pull must be a finite number, at least 0, got {self.pull}")
        if self.start < 0:
            raise ConfigError(f"start must be at least 0, got {self.start}")
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(f"stop must come after start ({self.start}), got {self.stop}")
        if self.optimizer is not None and self.optimizer not in ADAM_VARIANTS:
            raise ConfigError(f"there is no optimizer {self.optimizer!r}; choose from {', '.join(ADAM_VARIANTS)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be in 0..1, 1 excluded, got {list(self.betas)}")

    def at(self, step: int, steps: int) -> float:
        """Return the learning rate at `step` of a fit of `steps`; 0 if the value is fixed then."""
        return self.lr * self.factor_at(step, steps)

    def factor_at(self, step: int, steps: int) -> float:
        """Return the factor of lr at `step` of a fit of `steps`; 0 if the value is fixed then."""
        stop = steps if self.stop is None else min(self.stop, steps)
        if not self.start <= step < stop:
            return 0.0
        return self.schedule.factor((step - self.start) / (stop - self.start))


class FitOptimizer:
    """Adam over the latents of a model, each with its own settings.

    model: its latents are updated in place.
    settings: by path, exactly the model's learned paths.
    steps: the length of the fit, which schedules refer to.
    remeshing: by path of an object's vertices, how its mesh is remeshed during the fit (fit.remeshing.surgery).

    moments, variants: Adam's moments, and the variant of Adam (ADAM_VARIANTS), by canonical path.
    target_lengths: of the edges of each remeshed object, by path of its vertices.
    converged: whether further steps would change nothing; Adam never knows.
    A change of a mesh replaces `moments`, and the tensors in `target_lengths`.

    Raises ConfigError if the paths of settings and learned values differ, if no value is optimised at step 0, or if the
    vertices of a remeshed object are not learned, or on borders of parts that are not.
    """

    def __init__(
        self,
        model: SceneModel,
        settings: Mapping[str, ParamSettings],
        steps: int,
        remeshing: Mapping[str, Remeshing] | None = None,
    ) -> None:
        self._model = model
        settings = _by_latent(model, settings)
        policies = _by_latent(model, remeshing or {})
        _check_settings(settings, list(model.latents), steps)
        self.steps = steps
        self._settings = {path: settings[path] for path in model.latents}
        self.variants = {path: own.optimizer or model.parametrization(path).optimizer for path, own in settings.items()}
        self._step, self._coarseness = 0, 1.0
        self.converged = False
        # A fit that is resumed is built at its start too.
        self._starts = {path: model.latents[path].detach().clone() for path, own in self._settings.items() if own.pull}
        self.moments = {path: AdamState.fresh(self.variants[path], latent) for path, latent in model.latents.items()}
        vertices = [path for path in self._settings if ParameterPath.parse(path).is_vertices]
        if not policies.keys() <= set(vertices):
            wrong = ", ".join(path for path in policies if path not in vertices)
            raise ConfigError(f"remesh: only an object whose mesh.vertices are learned can be remeshed, got {wrong}")
        _check_whole_surfaces(model, list(policies))
        self.target_lengths = {
            path: TargetLengths(policies[path], self._mesh(path)) for path in vertices if path in policies
        }
        self._vertices = {
            path: VertexOptimizer(self.target_lengths.get(path), self._settings[path].in_edges) for path in vertices
        }

    def begin(self, step: int, coarseness: float = 1.0) -> list[str]:
        """Prepare `step`: clear gradients and require them only for the values that are optimised in it.

        coarseness: by how much target edge lengths are longer after it than at full size, since images are small.
        Returns the paths of these values.
        """
        self._step, self._coarseness = step, coarseness
        moving = []
        for path, latent in self._model.latents.items():
            latent.grad = None
            latent.requires_grad_(self._settings[path].at(step, self.steps) > 0)
            if latent.requires_grad:
                moving.append(path)
        return moving

    def step(self, problem: object = None) -> None:
        """Update the latents by their gradients; a latent without a gradient does not change.

        problem: the step as other optimisers need it (levenberg_marquardt.Problem).
        """
        for path, latent in self._model.latents.items():
            if latent.grad is None:
                continue
            own, moments = self._settings[path], self.moments[path]
            settings = AdamSettings(self.variants[path], own.at(self._step, self.steps), own.betas)
            vertices = self._vertices.get(path)
            if vertices is None:
                adam_step(latent, latent.grad, moments, settings)
                if own.pull:
                    with torch.no_grad():
                        latent.lerp_(self._starts[path], min(settings.lr * own.pull, 1.0))
            else:
                progress = (self._step + 1) / self.steps
                now = StepProgress(progress, own.factor_at(self._step, self.steps), self._coarseness)
                vertices.move(self._model.parametrization(path), self._mesh(path), latent, moments, settings, now)

    def geometry(self) -> dict[str, int]:
        """Count, over all learned meshes, vertices now, and damped vertices and flipped faces of the last step."""
        return {
            "vertices": sum(self._mesh(path).n_vertices for path in self._vertices),
            "damped": sum(vertices.damped for vertices in self._vertices.values()),
            "flipped": sum(vertices.flipped for vertices in self._vertices.values()),
        }

    def _mesh(self, path: str) -> Mesh:
        return self._model.vertex_mesh(path)

    def per_mesh_state(self) -> PerMeshState:
        """Return the state tied to the current meshes; pass it to `restore` when the model has these meshes again."""
        return PerMeshState(
            self.moments,
            {path: (target.lengths, target.drift, target.moves) for path, target in self.target_lengths.items()},
        )

    def restore(self, state: PerMeshState) -> None:
        """Restore a `per_mesh_state` that was taken when the model had its current meshes."""
        self.moments = state.moments
        for path, (lengths, drift, moves) in state.target_lengths.items():
            targets = self.target_lengths[path]
            targets.lengths, targets.drift, targets.moves = lengths, drift, moves

    def state_dict(self) -> dict[str, Any]:
        """Return paths, optimisers, moments and target lengths, as tensors and plain containers."""
        return {
            "paths": list(self._settings),
            "optimizers": dict(self.variants),
            "moments": {
                path: {"count": moments.count, "mean": moments.mean, "square": moments.square}
                for path, moments in self.moments.items()
            },
            "motions": {
                path: {"lengths": target.lengths, "drift": target.drift, "moves": target.moves}
                for path, target in self.target_lengths.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`. Raises FitError if its paths, optimisers or remeshed objects differ."""
        if state["paths"] != list(self._settings):
            raise FitError(
                f"the saved state learned {state['paths']}, this fit {list(self._settings)}; keep `optimize:`"
            )
        if state["optimizers"] != self.variants:
            raise FitError(f"the saved state used {state['optimizers']}, this fit {self.variants}; keep `optimize:`")
        if list(state["motions"]) != list(self.target_lengths):
            raise FitError(
                f"the saved state remeshed {list(state['motions'])}, this fit {list(self.target_lengths)}; keep"
                " `remesh:` as it was"
            )
        self.moments = {
            path: AdamState(*(saved[name].clone() for name in ("count", "mean", "square")))
            for path, saved in state["moments"].items()
        }
        for path, saved in state["motions"].items():
            targets = self.target_lengths[path]
            targets.lengths, targets.drift, targets.moves = saved["lengths"], saved["drift"], saved["moves"]


class PerMeshState(NamedTuple):
    """Moments by path, and target lengths, drift and moves by path of vertices."""

    moments: dict[str, AdamState]
    target_lengths: dict[str, tuple[Tensor, Tensor, int]]


def _check_whole_surfaces(model: SceneModel, paths: list[str]) -> None:
    """Raise ConfigError if a part is remeshed of a surface that has others, at rest: borders with them would open."""
    surfaces = surfaces_of(model.template.scene)
    for path in paths:
        learned = model.template.index_at(path)
        fixed = [name for parts in surfaces if learned.keys() <= parts.keys() for name in parts if name not in learned]
        if fixed:
            raise ConfigError(
                f"remesh: {path} is of a part of a surface whose parts {', '.join(fixed)} are not learned, and"
                " remeshing would open the borders between them; learn the vertices of all, or do not remesh"
            )


def _by_latent(model: SceneModel, settings: Mapping[str, Settings]) -> dict[str, Settings]:
    """Return the settings of each latent. Raises ConfigError if those of values with one latent differ."""
    found: dict[str, Settings] = {}
    first: dict[str, str] = {}
    for path, own in settings.items():
        at = model.latent_path(path)
        other = first.setdefault(at, path)
        if found.setdefault(at, own) != own:
            raise ConfigError(
                f"{path} and {other} are vertices of one surface, which are learned together; give them the same"
                " settings, or `off` to one"
            )
    return found


def _check_settings(settings: Mapping[str, ParamSettings], paths: list[str], steps: int) -> None:
    if set(settings) != set(paths):
        differing = ", ".join(sorted(set(settings) ^ set(paths)))
        raise ConfigError(f"each learned value needs its settings, and settings their learned value; check {differing}")
    if steps < 1:
        raise ConfigError(f"steps must be at least 1, got {steps}")
    if not any(own.at(0, steps) > 0 for own in settings.values()):
        raise ConfigError("nothing moves at step 0; give at least one value start: 0")
    late = [path for path, own in settings.items() if own.start >= steps]
    if late:
        raise ConfigError(f"{', '.join(late)}: start must come before the end of the fit, at step {steps}")
