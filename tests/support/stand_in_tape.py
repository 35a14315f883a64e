"""A stand-in for the recordings of a GPU (diffrender.recorded), so that what is around them is tested without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.list_sizes import ListSizes
from diffrender.recorded import gradients_of


class StandIn:
    """A tape that computes each time, with lists of the lengths that it found."""

    made: ClassVar[list[StandIn]] = []
    seconds = 0.0

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        sizes: ListSizes,
        former: StandIn | None,
    ) -> None:
        self.function, self.sizes, self.former = function, sizes, former
        StandIn.made.append(self)

    def replay(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor | None]:
        self.inputs = [each.detach().clone().requires_grad_(each.requires_grad) for each in inputs]
        with self.sizes.kept(), torch.enable_grad():
            self.outputs = self.function(*self.inputs)
        return self.outputs, self.sizes.overflow

    def pull(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        return gradients_of(self.outputs, self.inputs, grads)
