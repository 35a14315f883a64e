"""Normalized vectors in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from diffrender.ops.normalize.op import LEAST_LENGTH


def forward(vectors: Tensor) -> Tensor:
    """See op.normalize."""
    squared = (vectors * vectors).sum(1, keepdim=True)
    has_length = ~(squared < LEAST_LENGTH**2)  # also where it is NaN, which stays
    return (vectors / squared.where(has_length, 1).sqrt()).where(has_length, 0)
