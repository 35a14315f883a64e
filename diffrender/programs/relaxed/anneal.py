"""Anneal: a number that falls, or rises, over the steps of a fit, as temperatures and widths of edges do."""

from __future__ import annotations

from dataclasses import dataclass

from diffrender.errors import ConfigError


@dataclass(frozen=True)
class Anneal:
    """A number that goes from `first` to `last` by the same factor at each step, and stays there.

    first, last: above 0. until: the first step with `last`, at least 1.
    """

    first: float
    last: float
    until: int

    def __post_init__(self) -> None:
        if not (self.first > 0 and self.last > 0):
            raise ConfigError(f"Anneal: first and last must be above 0, got {self.first:g} and {self.last:g}")
        if self.until < 1:
            raise ConfigError(f"Anneal: until must be at least step 1, got {self.until}")

    def at(self, step: int | None) -> float:
        """Return the number at `step`, counted from 0; None: at the end."""
        if step is None or step >= self.until:
            return self.last
        return self.first * (self.last / self.first) ** (step / self.until)
