"""Find the edges across which values change."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_discrete


def changes_across(values: Tensor, sides: Tensor, least: float, *, backend: str | None = None) -> Tensor:
    """Return [E] bool: whether the values of the two sides of an edge are more than `least` apart at an end of it.

    The distance is that of vectors: the square root of the sum of squared differences of C numbers. A NaN is no change.
    Not differentiable: the result is discrete.

        jumps = changes_across(colors, topology.seams(faces)[1], 0.035)

    values: [K, C] float32 or float64.
    sides: [E, 2, 2] int64; the side s of edge e has values[sides[e, s, t]] at its end t.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".
    """
    check_tensors("changes_across", values=(values, "K C"), sides=(sides, "int64: E 2 2"))
    return run_discrete("changes_across", backend, values, sides, least)
