"""One change of a value that all cameras share, as photographs have that are taken with one lens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization


@dataclass(frozen=True)
class SharedFactor(Parametrization):
    """value = start times exp(latent), of one number: focal lengths [N, 2] keep their ratios."""

    start: Tensor | None = None

    def starting_at(self, value: Tensor) -> SharedFactor:
        """Return the parametrisation of a value that starts at `value`. Raises ShapeError unless it is above 0."""
        check_finite("shared", "value", value)
        if not bool((value > 0).all()):
            raise ShapeError(f"shared: values must be above 0, got {value.min().item():g}")
        return replace(self, start=value.detach().clone())

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the start times the factor."""
        assert self.start is not None, "bind it by starting_at"
        return self.start * latent.exp()

    def latent_of(self, value: Tensor) -> Tensor:
        """Return 0. Raises ShapeError if `value` is not the start."""
        _check_start(self.starting_at(value).start, self.start)
        return value.new_zeros(1)


@dataclass(frozen=True)
class SharedShift(Parametrization):
    """value = start plus unit times latent, of two numbers: principal points [N, 2] of photographs of any size.

    unit: [N, 2], such as the focal lengths; None: 1.
    """

    start: Tensor | None = None
    unit: Tensor | None = None

    def starting_at(self, value: Tensor) -> SharedShift:
        """Return the parametrisation of a value that starts at `value`. Raises ShapeError unless it is finite."""
        check_finite("shared", "value", value)
        return replace(self, start=value.detach().clone())

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the start plus the shift."""
        assert self.start is not None, "bind it by starting_at"
        return self.start + latent * (1 if self.unit is None else self.unit)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return 0. Raises ShapeError if `value` is not the start."""
        _check_start(self.starting_at(value).start, self.start)
        return value.new_zeros(value.shape[-1])


@dataclass(frozen=True)
class SharedRows(Parametrization):
    """One row of `inner` for all cameras: values [N, ...] of the lens that all photographs were taken with.

    n_rows: N.
    """

    inner: Parametrization
    n_rows: int

    @property
    def reach(self) -> float:  # type: ignore[override]
        """That of the row."""
        return self.inner.reach

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the row of the latent, once per camera."""
        row = self.inner.value_of(latent)
        return row.expand(self.n_rows, *row.shape)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the latent of the row. Raises ShapeError if rows differ."""
        check_finite("shared", "value", value)
        if len(value) != self.n_rows or not torch.equal(value, value[:1].expand_as(value)):
            raise ShapeError(
                f"shared: must be the same for all {self.n_rows} cameras at first; set `shared: false` for one each"
            )
        return self.inner.latent_of(value[0])


def _check_start(value: Tensor | None, start: Tensor | None) -> None:
    if start is not None and value is not None and not torch.equal(value, start):
        raise ShapeError("shared: the value must be the start, of which it is a change")
