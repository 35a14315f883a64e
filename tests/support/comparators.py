"""Comparisons of gradients that cannot be fooled.

An absolute tolerance forgives a gradient that is missing altogether, and one number forgives a row that is: so a
gradient is compared by direction, by relative length of the error, by signed bias and row by row.
"""

from __future__ import annotations

import torch
from support.tolerances import TOLERANCES
from torch import Tensor

# Rows shorter than this fraction of the longest expected row are noise, and their ratio means nothing.
ROW_THAT_MATTERS = 1e-3


def psnr_of(a: Tensor, b: Tensor) -> float:
    """In dB, of values in 0..1 of any shape."""
    return float(-10 * (a - b).square().mean().log10())


def cosine(actual: Tensor, expected: Tensor) -> float:
    """Cosine of the angle between two gradients as flat vectors; 0 where one of them is zero."""
    a, b = actual.double().reshape(-1), expected.double().reshape(-1)
    lengths = a.norm() * b.norm()
    return float(a @ b / lengths) if lengths > 0 else 0.0


def relative_l2(actual: Tensor, expected: Tensor) -> float:
    """|actual - expected| / |expected|; infinite where the expected gradient alone is zero."""
    error = float((actual.double() - expected.double()).norm())
    length = float(expected.double().norm())
    return error / length if length > 0 else (0.0 if error == 0 else float("inf"))


def signed_bias(actual: Tensor, expected: Tensor) -> float:
    """Relative error of the component along the expected gradient: .1 is 10 % too long, -1 missing, -2 turned round."""
    a, b = actual.double().reshape(-1), expected.double().reshape(-1)
    return float(a @ b / (b @ b)) - 1 if bool(b.any()) else 0.0


def row_ratios(actual: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, ratios): the rows (first axis) that matter, and |actual row| / |expected row| of each."""
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
    """Fail unless `actual` is the same gradient as `expected`; bounds not given come from the dtype's tolerances.

    `actual` may not be None, and must be finite and of the same shape. An expected gradient of zero wants zero. With
    loose bounds for the direction and the length give loose ones for bias and rows as well (infinite: not asked).
    """
    assert actual is not None, f"{what}: there is none"
    assert actual.shape == expected.shape, f"{what}: shape {list(actual.shape)}, wanted {list(expected.shape)}"
    assert bool(expected.isfinite().all()), f"{what}: the expected gradient is not finite"
    assert bool(actual.isfinite().all()), f"{what}: not finite at {(~actual.isfinite()).nonzero()[0].tolist()}"
    if not bool(expected.any()):
        assert not bool(actual.any()), f"{what}: should be zero, is up to {float(actual.abs().max()):.3g}"
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
    assert found["cosine"] >= least_cosine, f"{summary}; wanted a cosine of at least {least_cosine:.8g}"
    assert found["relative L2"] <= most_l2, f"{summary}; wanted a relative L2 error of at most {most_l2:g}"
    assert abs(found["bias"]) <= most_bias, f"{summary}; wanted a bias of at most {most_bias:g}"
    if actual.dim() > 0:
        rows, ratios = row_ratios(actual, expected)
        error = (ratios - 1).abs()
        worst = int(error.argmax())
        assert float(error[worst]) <= most_row, (
            f"{summary}; row {int(rows[worst])} is {float(ratios[worst]):.4g} times as long as it should be "
            f"({int((error > most_row).sum())} of {len(rows)} rows are off by more than {most_row:g})"
        )
