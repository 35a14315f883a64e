"""Tolerances between two computations of the same thing, per dtype."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tolerance:
    """Bounds for values and for gradients.

    atol, rtol: for values, as in torch.testing.assert_close.
    cosine: minimum cosine between two gradients.
    relative_l2: maximum length of their difference, relative to the length of the expected one.
    bias: maximum relative error of the actual gradient's component along the expected one.
    row_ratio: maximum relative error of the length of any row that matters.
    """

    atol: float
    rtol: float
    cosine: float
    relative_l2: float
    bias: float
    row_ratio: float


# For the same arithmetic in another order.
TOLERANCES = {
    torch.float32: Tolerance(1e-5, 1e-5, 1 - 1e-6, 1e-4, 1e-4, 1e-2),
    torch.float64: Tolerance(1e-10, 1e-9, 1 - 1e-9, 1e-8, 1e-8, 1e-6),
}
