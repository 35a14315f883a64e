"""Strict comparisons of gradients.

An absolute tolerance misses a gradient that is absent, and one number misses a row that is. A gradient is therefore
compared by direction, by relative length of the error, by signed bias and row by row.
"""

from __future__ import annotations

import torch
from support.tolerances import TOLERANCES
from torch import Tensor

# Rows shorter than this fraction of the longest expected row are noise, and their ratio is meaningless.
ROW_THAT_MATTERS = 1e-3


def psnr_of(a: Tensor, b: Tensor) -> float:
    """Return the PSNR in dB of values in 0..1 of any shape."""
    return float(-10 * (a - b).square().mean().log10())


def cosine(actual: Tensor, expected: Tensor) -> float:
    """Return the cosine of the angle between two gradients as flat vectors; 0 if one of them is zero."""
    a, b = actual.double().reshape(-1), expected.double().reshape(-1)
    lengths = a.norm() * b.norm()
    return float(a @ b / lengths) if lengths > 0 else 0.0


def relative_l2(actual: Tensor, expected: Tensor) -> float:
    """Return |actual - expected| / |expected|; infinity if only the expected gradient is zero."""
    error = float((actual.double() - expected.double()).norm())
    length = float(expected.double().norm())
    return error / length if length > 0 else (0.0 if error == 0 else float("inf"))


def signed_bias(actual: Tensor, expected: Tensor) -> float:
    """Return the relative error of the component along the expected gradient: 0.1 if 10 % too long, -2 if negated."""
    a, b = actual.double().reshape(-1), expected.double().reshape(-1)
    return float(a @ b / (b @ b)) - 1 if bool(b.any()) else 0.0


def row_ratios(actual: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Return (rows, ratios): the rows (first axis) that matter, and |actual row| / |expected row| of each."""
    a = actual.double().reshape(len(actual), -1).norm(dim=1)
    b = expected.double().reshape(len(expected), -1).norm(dim=1)
    rows = torch.nonzero(b > ROW_THAT_MATTERS * b.max())[:, 0] if len(b) else torch.zeros(0, dtype=torch.int64)
    return rows, a[rows] / b[rows]


def assert_gradients_agree(
    actual: Tensor | None,
    expected: Tensor,
    *,
    what: str = "gradient",
    cosine_at_least: float | None = None,
    relative_l2_at_most: float | None = None,
    bias_at_most: float | None = None,
    row_ratio_error_at_most: float | None = None,
) -> None:
    """Fail unless `actual` is the same gradient as `expected`; omitted bounds come from the dtype's tolerances.

    `actual` must not be None, and must be finite and of the same shape; it must be zero if `expected` is. If bounds for
    direction and length are loose, pass loose ones for bias and rows as well (infinity: not checked).
    """
    assert actual is not None, f"{what}: there is none"
    assert actual.shape == expected.shape, f"{what}: shape must be {list(expected.shape)}, got {list(actual.shape)}"
    assert bool(expected.isfinite().all()), f"{what}: the expected gradient is not finite"
    assert bool(actual.isfinite().all()), f"{what}: not finite at {(~actual.isfinite()).nonzero()[0].tolist()}"
    if not bool(expected.any()):
        assert not bool(actual.any()), f"{what}: must be zero, is up to {float(actual.abs().max()):.3g}"
        return
    default = TOLERANCES[actual.dtype]
    least_cosine = default.cosine if cosine_at_least is None else cosine_at_least
    most_l2 = default.relative_l2 if relative_l2_at_most is None else relative_l2_at_most
    most_bias = default.bias if bias_at_most is None else bias_at_most
    most_row = default.row_ratio if row_ratio_error_at_most is None else row_ratio_error_at_most

    found = {
        "cosine": cosine(actual, expected),
        "relative L2": relative_l2(actual, expected),
        "bias": signed_bias(actual, expected),
    }
    summary = f"{what}: " + ", ".join(f"{name} {value:.6g}" for name, value in found.items())
    assert found["cosine"] >= least_cosine, f"{summary}; the cosine must be at least {least_cosine:.8g}"
    assert found["relative L2"] <= most_l2, f"{summary}; the relative L2 error must be at most {most_l2:g}"
    assert abs(found["bias"]) <= most_bias, f"{summary}; the bias must be at most {most_bias:g}"
    if actual.dim() > 0:
        rows, ratios = row_ratios(actual, expected)
        error = (ratios - 1).abs()
        worst = int(error.argmax())
        assert float(error[worst]) <= most_row, (
            f"{summary}; row {int(rows[worst])} is {float(ratios[worst]):.4g} times as long as it should be "
            f"({int((error > most_row).sum())} of {len(rows)} rows are off by more than {most_row:g})"
        )
