"""Changes across edges in plain PyTorch."""

from __future__ import annotations

from torch import Tensor


def forward(values: Tensor, sides: Tensor, least: float) -> Tensor:
    """See op.changes_across."""
    first, second = values.double()[sides].unbind(1)
    return ((first - second).square().sum(-1) > least**2).any(1)
