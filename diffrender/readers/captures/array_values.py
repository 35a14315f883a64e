"""Named arrays and lists of a file, checked; what is wrong is added to `problems`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def texts_of(content: Mapping[str, Any], key: str, n: int | None, problems: list[str]) -> list[str] | None:
    """Return content[key] as texts, None if it is absent or wrong. n: how many there must be; None: any, but some."""
    if key not in content:
        if n is None:
            problems.append(f"{key} is missing: a list with the path of each image")
        return None
    values = content[key].tolist() if isinstance(content[key], np.ndarray) else content[key]
    if isinstance(values, list):
        values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
        problems.append(f"{key} must be a list of paths")
        return None
    if n is not None and len(values) != n:
        problems.append(f"{key} must have an entry for each of the {n} images, got {len(values)}")
        return None
    return values


def numbers_of(content: Mapping[str, Any], key: str, problems: list[str]) -> Tensor | None:
    """Return content[key] as finite float64 numbers, None and a problem if it is something else."""
    try:
        values = np.asarray(content[key])
        if values.dtype.kind in "fiu" and np.isfinite(values).all():
            return torch.from_numpy(values.astype(np.float64))
    except ValueError:  # rows of unequal length
        pass
    problems.append(f"{key} must be an array of finite numbers")
    return None


def pixels_of(content: Mapping[str, Any], key: str, n: int, problems: list[str]) -> list[float] | None:
    """Return content[key] as `n` whole numbers above 0, None if it is absent or wrong."""
    if key not in content:
        return None
    values = numbers_of(content, key, problems)
    if values is None:
        return None
    if tuple(values.shape) not in ((), (1,), (n,)) or not bool(((values > 0) & (values == values.round())).all()):
        problems.append(f"{key} must be a number of pixels, or {n} of them")
        return None
    return values.reshape(-1).expand(n).tolist()
