"""Values of a JSON file, checked."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.stand_ins import HEAD, stand_in


def read_json(path: Path, wanted: str) -> dict[str, Any]:
    """Read the object that a JSON file holds. Raises DataError if it is something else: `wanted` says what it has."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        if instead := stand_in(text.encode()[:HEAD]):
            raise DataError(f"{path}: {instead}") from None
        raise DataError(f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8, but UTF-16 or another ({error}); save it as UTF-8") from None
    except (ValueError, RecursionError) as error:  # repeated keys, numbers of thousands of digits, endless nesting
        raise DataError(f"{path}: cannot be read as JSON ({error}); correct or export it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be an object with {wanted}, got {shorten(content)}")
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises ValueError if a key has two values, of which most readers silently take the last."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content and content[key] != value:
            raise ValueError(f'"{key}" is in one object twice, as {shorten(content[key])} and as {shorten(value)}')
        content[key] = value
    return content


def number_of(
    values: Mapping[str, Any], key: str, low: float, high: float, problems: list[str], remedy: str = ""
) -> float | None:
    """Return values[key] as a number strictly between low and high; None if it has none, or a wrong one: `problems`."""
    value = values.get(key)
    if value is None:
        return None
    if is_number(value) and low < value < high:
        return float(value)
    expected = "a finite number" if low == -math.inf else f"a number above {low:g}"
    if low == 0 and high == math.pi:
        expected = "an angle in radians between 0 and pi"
    problems.append(f"{key} must be {expected}, got {shorten(value)}{remedy}")
    return None


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value of a JSON file is a number that a float can hold; true and false are none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, float)


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
