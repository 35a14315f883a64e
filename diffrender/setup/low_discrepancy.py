"""Numbers that are spread evenly, in place of random ones."""

from __future__ import annotations

import torch
from torch import Tensor


def low_discrepancy(count: int, irrational: float) -> Tensor:
    """Return [count] evenly spread numbers in -1..1, independent of those of another irrational number.

    An additive recurrence: the fractional parts of the multiples of an irrational number.
    """
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    return (2 * (steps * irrational).frac() - 1).float()
