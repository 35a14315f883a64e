"""Values of a JSON file, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor


def number_of(values: Mapping[str, Any], key: str, low: float, high: float, problems: list[str]) -> float | None:
    """Return values[key] as a number strictly between low and high; None if it is absent, or wrong: see `problems`."""
    if key not in values:
        return None
    value = values[key]
    if is_number(value) and low < value < high:
        return float(value)
    expected = "a finite number" if low == -math.inf else f"a number above {low:g}"
    if low == 0 and high == math.pi:
        expected = "an angle in radians between 0 and pi"
    problems.append(f"{key} must be {expected}, got {shorten(value)}")
    return None


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value of a JSON file is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def matrix_of(value: Any, n_rows: Sequence[int], n_columns: int) -> Tensor | None:
    """Return `value` as a float64 matrix with one of these numbers of rows; None if it is something else."""
    if not isinstance(value, list) or len(value) not in n_rows:
        return None
    for row in value:
        if not isinstance(row, list) or len(row) != n_columns:
            return None
        if not all(is_number(entry) for entry in row):
            return None
    return torch.tensor(value, dtype=torch.float64)


def shorten(value: Any) -> str:
    """Return `value` as JSON for messages, cut if it is long."""
    if value is None:
        return "nothing"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
