"""Learning rate schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from diffrender.errors import ConfigError


class Schedule(ABC):
    """Base of all schedules: a frozen dataclass whose fields are its options in scene.yaml."""

    @abstractmethod
    def factor(self, progress: float) -> float:
        """Return the factor of the learning rate at `progress`: 0 at the first step, just below 1 at the last; pure."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate at every step."""

    def factor(self, progress: float) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a period of a cosine from 1 to `final` (Loshchilov & Hutter, SGDR, 2017, equation 5, one period).

    final: 0..1, the final factor of the learning rate.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.final <= 1:
            raise ConfigError(f"cosine: final must be in 0..1, got {self.final}")

    def factor(self, progress: float) -> float:
        """Return the half cosine at `progress`, flat at both ends."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay from 1 to `final`.

    final: above 0 and at most 1, the final factor of the learning rate.
    hold: the share of the steps before it decays, at least 0 and below 1.
    """

    final: float = 0.1
    hold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.final <= 1:
            raise ConfigError(f"exponential: final must be above 0 and at most 1, got {self.final}")
        if not 0 <= self.hold < 1:
            raise ConfigError(f"exponential: hold must be at least 0 and below 1, got {self.hold}")

    def factor(self, progress: float) -> float:
        """Return final ** progress, of the steps that are not held."""
        return self.final ** max(0.0, (progress - self.hold) / (1 - self.hold))


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "cosine": Cosine, "exponential": Exponential}
