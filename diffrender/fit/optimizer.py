"""FitOptimizer: an Adam with a learning rate, a beginning and an end for each learned value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffrender.errors import ConfigError, FitError
from diffrender.fit.adam import PACES, Moments, Pace, move
from diffrender.fit.model import SceneModel
from diffrender.fit.schedule import Constant, Schedule

# Adam's usual ones.
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Rate:
    """How fast one value is learned, and when.

    lr: above 0, in units of the latent: of the value itself for identity, of its logarithm for positive.
    start: the first step, from 0, at which it moves; before that it stays as it is and costs no gradient.
    stop: the first step at which it stays again, or None for the end of the fit.
    schedule: what lr is multiplied by between start and stop.
    optimizer: its name in diffrender.fit.adam.PACES, or None for the one that the parametrisation prefers.
    betas: how much of the running means of gradients and of their squares is kept from step to step, each in 0..1.
    """

    lr: float
    start: int = 0
    stop: int | None = None
    schedule: Schedule = field(default_factory=Constant)
    optimizer: str | None = None
    betas: tuple[float, float] = BETAS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(
                f"lr must be a finite number above 0, got {self.lr}; to keep a value as it is, leave it out"
            )
        if self.start < 0:
            raise ConfigError(f"start must be at least 0, got {self.start}")
        if self.stop is not None and self.stop <= self.start:
            raise ConfigError(f"stop must come after start ({self.start}), got {self.stop}")
        if self.optimizer is not None and self.optimizer not in PACES:
            raise ConfigError(f"there is no optimizer {self.optimizer!r}; choose from {', '.join(PACES)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must lie in 0..1, 1 itself excluded, got {list(self.betas)}")

    def at(self, step: int, steps: int) -> float:
        """The learning rate at `step` of a fit of `steps`; 0 where the value stays as it is."""
        stop = steps if self.stop is None else min(self.stop, steps)
        if not self.start <= step < stop:
            return 0.0
        return self.lr * self.schedule.factor((step - self.start) / (stop - self.start))


class FitOptimizer:
    """Adam over the latents of a model, each with a pace of its own.

    model: whose latents are moved, in place.
    rates: by path, exactly the model's learned paths.
    steps: the length of the fit, which schedules refer to.

    Raises ConfigError where rates and learned paths differ, and where no value moves at step 0.
    """

    def __init__(self, model: SceneModel, rates: Mapping[str, Rate], steps: int) -> None:
        self._model = model
        rates = {model.full_path(path): rate for path, rate in rates.items()}
        if set(rates) != set(model.latents):
            differing = ", ".join(sorted(set(rates) ^ set(model.latents)))
            raise ConfigError(f"every learned value needs one rate and every rate a learned value; check {differing}")
        if steps < 1:
            raise ConfigError(f"steps must be at least 1, got {steps}")
        if not any(rate.at(0, steps) > 0 for rate in rates.values()):
            raise ConfigError("nothing moves at step 0; give at least one value start: 0")
        late = [path for path, rate in rates.items() if rate.start >= steps]
        if late:
            raise ConfigError(f"{', '.join(late)}: start must come before the end of the fit, at step {steps}")
        self._steps = steps
        self._rates = {path: rates[path] for path in model.latents}
        self._names = {path: rate.optimizer or model.parametrization(path).optimizer for path, rate in rates.items()}
        self._lr = dict.fromkeys(self._rates, 0.0)
        self._moments = {path: Moments.fresh(self._names[path], latent) for path, latent in model.latents.items()}

    def begin(self, step: int) -> list[str]:
        """Prepare `step`: learning rates set, gradients empty and asked for only where a value moves.

        Returns the paths that move.
        """
        moving = []
        for path, latent in self._model.latents.items():
            self._lr[path] = self._rates[path].at(step, self._steps)
            latent.grad = None
            latent.requires_grad_(self._lr[path] > 0)
            if latent.requires_grad:
                moving.append(path)
        return moving

    def step(self) -> None:
        """Move the latents along their gradients; one without a gradient stays."""
        for path, latent in self._model.latents.items():
            if latent.grad is not None:
                pace = Pace(self._names[path], self._lr[path], self._rates[path].betas)
                move(latent, latent.grad, self._moments[path], pace)

    def state_dict(self) -> dict[str, Any]:
        """Paths, optimisers and moments, as tensors and plain containers."""
        return {
            "paths": list(self._rates),
            "optimizers": dict(self._names),
            "moments": {path: dataclasses.asdict(moments) for path, moments in self._moments.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the moments of another optimiser of the same paths. Raises FitError for other paths."""
        if state["paths"] != list(self._rates):
            raise FitError(f"the saved state learned {state['paths']}, this fit {list(self._rates)}; keep `optimize:`")
        if state["optimizers"] != self._names:
            raise FitError(
                f"the saved state was moved by {state['optimizers']}, this fit by {self._names}; keep `optimize:`"
            )
        for path, saved in state["moments"].items():
            self._moments[path] = Moments(**{name: tensor.clone() for name, tensor in saved.items()})
