"""The terms of a step, recorded on a GPU while steps are alike, and replayed."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import DiffrenderError
from diffrender.fit.loss_inputs import LossInputs, cameras_to_compare
from diffrender.fit.objective import Objective, Terms
from diffrender.imaging.metrics import MOST_DB
from diffrender.ops.backend import choose_backend
from diffrender.recorded import Recorded
from diffrender.render.render import RenderStep
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import EnvironmentLight, Light
from diffrender.scene.quantity_kinds import fields_of, map_tensors, named_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

# Compared by value; all else by identity.
PLAIN = (int, float, str, type(None))


class Evaluated(NamedTuple):
    """The terms of a step, and the mean over its views of the PSNR of their sRGB images [], NaN without colours."""

    terms: Terms
    psnr_db: Tensor


class StepTerms:
    """Renders the views of a step and evaluates the terms, on a GPU by a recording (diffrender.recorded) where it can.

    A recording serves steps that differ in nothing but the values of tensors: the same meshes, sizes, numbers of views,
    learned values and edge model. What cannot be recorded, because it waits for the device, never is again.

    edges_at: the edge model of a step; None: nothing is recorded.
    replayed: number of steps that were replayed. obstacle: what kept steps from being recorded, or None.
    """

    def __init__(
        self, objective: Objective, render_step: RenderStep, edges_at: Callable[[int], object] | None = None
    ) -> None:
        self._objective = objective
        self._render_step = render_step
        self._edges_at = edges_at
        self._key: object = None
        self._alike, self._former_alike = 0, 0
        # What a step has taken without a recording, what with, and what it took to record, in seconds.
        self._plain_s = self._replay_s = self._record_s = math.inf
        self._recorded: Recorded | None = None
        self._weights: tuple[list[float], Tensor] | None = None
        self.replayed = 0
        self.obstacle: str | None = None

    def __call__(
        self, scene: Scene, cameras: Cameras, views: Views, added: Tensor | None, step: int, progress: float
    ) -> Evaluated:
        """Return the terms of a step; differentiable in scene and cameras, once where they are replayed."""
        parts: dict[str, Any] = {"scene": scene, "cameras": cameras, "views": views, "added": added}
        found = self._noted_or_replayed(parts, step, progress)
        return self.plain(scene, cameras, views, added, step, progress) if found is None else found

    def plain(
        self, scene: Scene, cameras: Cameras, views: Views, added: Tensor | None, step: int, progress: float
    ) -> Evaluated:
        """Return what a call does, never replayed: several gradients may be taken of it."""
        parts = {"scene": scene, "cameras": cameras, "views": views, "added": added}
        return self._evaluate(parts, step, self._objective.weights_at(progress))

    def _noted_or_replayed(self, parts: dict[str, Any], step: int, progress: float) -> Evaluated | None:
        """Return the terms of a step as far as it can be recorded, None if it cannot."""
        is_able = self._edges_at is not None and self.obstacle is None
        if not is_able or choose_backend(parts["scene"].background.device) != "triton":
            return None
        parts = {**parts, "views": dataclasses.replace(parts["views"], boxes=None, files=None)}
        tensors: list[Tensor] = []
        _map_parts(parts, lambda each: tensors.append(each) or each)
        key = (self._edges_at(step), _kind_of(parts))
        if not any(each.requires_grad for each in tensors):
            return None
        self._count(key, parts, step)
        assert self._recorded is not None
        inputs = self._weights_at(progress, tensors[0]), *tensors
        try:
            if not self._pays():
                began = time.perf_counter()
                found = self._recorded.noted(*inputs)
                self._plain_s = min(self._plain_s, time.perf_counter() - began)
                return self._named(found)
            found = self._replay(self._recorded, inputs)
        except (DiffrenderError, RuntimeError) as error:
            # What failed goes with the error, before the step is evaluated without it.
            self.obstacle, self._recorded = str(error).partition("\n")[0], None
            return None
        return self._named(found)

    def _pays(self) -> bool:
        """Return whether to replay this step, if need be to record it first.

        As many steps as before may be alike, and if more are already, as many again.
        """
        if self._alike == 0 or self._recorded is None:
            return False
        if self._recorded.tapes or self._record_s == math.inf:
            return True
        left = max(self._former_alike - self._alike, self._alike)
        saved_s = self._plain_s - (0.0 if self._replay_s == math.inf else self._replay_s)
        return left * saved_s > self._record_s

    def _replay(self, recorded: Recorded, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tapes, began = recorded.tapes, time.perf_counter()
        found = recorded(*inputs)
        if recorded.tapes > tapes:
            self._record_s = recorded.tape_s
        else:
            self._replay_s = min(self._replay_s, time.perf_counter() - began)
        self.replayed += 1
        return found

    def _count(self, key: object, parts: Mapping[str, Any], step: int) -> None:
        """Count how many steps in a row were alike; begin anew where they are not."""
        if self._recorded is not None and key == self._key:
            self._alike += 1
            return
        kept = _map_parts(parts, Tensor.detach)

        def evaluate(weights: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            following = iter(inputs)
            found = self._evaluate(_map_parts(kept, lambda each: next(following)), step, weights)
            self._per_view = list(found.terms.per_view)
            return found.terms.total, found.psnr_db, *found.terms.values.values(), *found.terms.per_view.values()

        self._former_alike, self._alike = self._alike, 0
        self._key, self._recorded = key, Recorded(evaluate, self._recorded)

    def _named(self, numbers: tuple[Tensor, ...]) -> Evaluated:
        """Return what a recording gives by its names."""
        names = [term.name for term in self._objective.terms]
        total, psnr_db, *rest = numbers
        values, per_view = rest[: len(names)], rest[len(names) :]
        terms = Terms(total, dict(zip(names, values, strict=True)), dict(zip(self._per_view, per_view, strict=True)))
        return Evaluated(terms, psnr_db)

    def _weights_at(self, progress: float, like: Tensor) -> Tensor:
        """Return the weights of the terms on the device, copied only if they have changed."""
        weights = self._objective.weights_at(progress)
        if self._weights is None or self._weights[0] != weights:
            self._weights = weights, torch.tensor(weights, dtype=torch.float32, device=like.device)
        return self._weights[1]

    def _evaluate(self, parts: Mapping[str, Any], step: int, weights: list[float] | Tensor) -> Evaluated:
        scene = parts["scene"]
        cameras, views = cameras_to_compare(parts["cameras"], parts["views"]), parts["views"]
        inputs = LossInputs(self._render_step(scene, cameras, step), views, parts["added"])
        terms = self._objective.weighted(inputs, scene, weights)
        with torch.no_grad():
            psnr_db = torch.full_like(terms.total, math.nan)
            if "color" in self._objective.aovs():
                psnr_db = (-10 * inputs.squared_error().log10()).clamp_max(MOST_DB).mean()
        return Evaluated(terms, psnr_db)


def _map_parts(parts: Mapping[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Return the parts with `change` applied to the tensors that may differ from step to step.

    Whole numbers of the scene are its faces: a recording serves one mesh. Lights that are not learned stay what they
    are, since environments keep what they have prefiltered.
    """

    def of_scene(tensor: Tensor) -> Tensor:
        return change(tensor) if tensor.is_floating_point() else tensor

    mapped = {name: map_tensors(part, change) for name, part in parts.items() if name != "scene"}
    scene: Scene = parts["scene"]
    lights = {name: light if _is_fixed(light) else map_tensors(light, of_scene) for name, light in scene.lights.items()}
    rest = map_tensors(dataclasses.replace(scene, lights={}), of_scene)
    return {"scene": dataclasses.replace(rest, lights=lights), **mapped}


def _is_fixed(light: Light) -> bool:
    """Return whether a light is an environment that is not learned."""
    return isinstance(light, EnvironmentLight) and not any(each.requires_grad for _, each in named_tensors(light, ""))


def _kind_of(node: Any, in_scene: bool = False) -> object:
    """Return what must be the same for a recording to serve."""
    if isinstance(node, Tensor):
        if in_scene and not node.is_floating_point():
            return id(node)
        return node.shape, node.dtype, node.requires_grad
    if isinstance(node, Mapping):
        return tuple((name, _kind_of(part, in_scene or name == "scene")) for name, part in node.items())
    if isinstance(node, Light) and _is_fixed(node):
        return id(node)
    if dataclasses.is_dataclass(node):
        parts = fields_of(node).items()
        return type(node), tuple((name, _kind_of(part, in_scene)) for name, part in parts if name != "names")
    return node if isinstance(node, PLAIN) else id(node)
