"""Motion: the values of a scene that differ between the times of its views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_shape
from diffrender.errors import ShapeError


@dataclass(frozen=True)
class Motion:
    """The values of a scene that differ between times, as plain tensors.

        fall = Motion(times, {"objects.ball.pose": poses})  # [K], [K, 4, 4]
        scene = Scene({"ball": ball}, lights, motion=fall)

    times: [K] seconds, increasing, at least one.
    values: by canonical path (scene.parameter_paths), one row per time: [K, ...] of the shape that the value has.

    A camera sees the scene at the time nearest to its own (`Cameras.time`), one without a time at the first. Raises
    ShapeError for times that do not increase, or another number of rows.
    """

    times: Tensor
    values: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        check_shape("Motion", "times", self.times, ("K",))
        check_finite("Motion", "times", self.times)
        if len(self.times) < 1 or not bool((self.times[1:] > self.times[:-1]).all()):
            raise ShapeError(f"Motion: times must increase, at least one, got {self.times.tolist()}")
        for path, value in self.values.items():
            if value.dim() == 0 or len(value) != len(self.times):
                raise ShapeError(
                    f"Motion: {path} must have one row per time ({len(self.times)}), got {list(value.shape)}"
                )
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    def rows_at(self, time: Tensor) -> list[int]:
        """Return the row of the nearest of the times, for each time [N]."""
        gaps = (time.detach()[:, None] - self.times).abs()
        return torch.argmin(gaps, 1).tolist()

    def at(self, row: int) -> dict[str, Tensor]:
        """Return the values of one time, by path."""
        return {path: value[row] for path, value in self.values.items()}
