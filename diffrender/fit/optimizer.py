"""FitOptimizer: Adam with a learning rate, a beginning and an end for each learned value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from diffrender.errors import ConfigError, FitError
from diffrender.fit.model import SceneModel
from diffrender.fit.schedule import Constant, Schedule

# Means over pixels make gradients as small as 1e-7 for a texel of a large texture; Adam's usual 1e-8 would damp those.
EPSILON = 1e-12


@dataclass(frozen=True)
class Rate:
    """How fast one value is learned, and when.

    lr: above 0, in units of the latent: of the value itself for identity, of its logarithm for positive.
    start: the first step, from 0, at which it moves; before that it stays as it is and costs no gradient.
    stop: the first step at which it stays again, or None for the end of the fit.
    schedule: what lr is multiplied by between start and stop.
    """

    lr: float
    start: int = 0
    stop: int | None = None
    schedule: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(
                f"lr must be a finite number above 0, got {self.lr}; to keep a value as it is, leave it out"
            )
        if self.start < 0:
            raise ConfigError(f"start must be at least 0, got {self.start}")
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(f"stop must come after start ({self.start}), got {self.stop}")

    def at(self, step: int, steps: int) -> float:
        """The learning rate at `step` of a fit of `steps`; 0 where the value stays as it is."""
        stop = steps if self.stop is None else min(self.stop, steps)
        if not self.start <= step < stop:
            return 0.0
        return self.lr * self.schedule.factor((step - self.start) / (stop - self.start))


class FitOptimizer:
    """Adam (Kingma & Ba, 2015) over the latents of a model, one parameter group a path.

    model: whose latents are moved, in place.
    rates: by path, exactly the model's learned paths.
    steps: the length of the fit, which schedules refer to.

    Raises ConfigError where rates and learned paths differ, and where no value moves at step 0.
    """

    def __init__(self, model: SceneModel, rates: Mapping[str, Rate], steps: int) -> None:
        self._latents = model.latents
        rates = {model.full_path(path): rate for path, rate in rates.items()}
        if set(rates) != set(self._latents):
            differing = ", ".join(sorted(set(rates) ^ set(self._latents)))
            raise ConfigError(f"every learned value needs one rate and every rate a learned value; check {differing}")
        if steps < 1:
            raise ConfigError(f"steps must be at least 1, got {steps}")
        self._rates = rates
        self._steps = steps
        if not any(rate.at(0, steps) > 0 for rate in rates.values()):
            raise ConfigError("nothing moves at step 0; give at least one value start: 0")
        late = [path for path, rate in rates.items() if rate.start >= steps]
        if late:
            raise ConfigError(f"{', '.join(late)}: start must come before the end of the fit, at step {steps}")
        self._adam = torch.optim.Adam(
            [{"params": [latent], "lr": rates[path].lr} for path, latent in self._latents.items()],
            eps=EPSILON,
            fused=True,
        )

    def begin(self, step: int) -> list[str]:
        """Prepare `step`: learning rates set, gradients empty and asked for only where a value moves.

        Returns the paths that move.
        """
        moving = []
        for (path, latent), group in zip(self._latents.items(), self._adam.param_groups, strict=True):
            group["lr"] = self._rates[path].at(step, self._steps)
            latent.grad = None
            latent.requires_grad_(group["lr"] > 0)
            if latent.requires_grad:
                moving.append(path)
        return moving

    def step(self) -> None:
        """Move the latents along their gradients."""
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Paths and moments, as tensors and plain containers."""
        return {"paths": list(self._latents), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the moments of another optimiser of the same paths. Raises FitError for other paths."""
        if state["paths"] != list(self._latents):
            raise FitError(
                f"the saved state learned {state['paths']}, this fit {list(self._latents)}; keep `optimize:`"
            )
        self._adam.load_state_dict(state["adam"])
