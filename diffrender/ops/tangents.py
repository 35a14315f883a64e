"""Tangents [K, ...] of the arguments of an op, as kernels get them: None where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def count_tangents(tangents: Sequence[Tensor | None]) -> int:
    """Return K of tangents [K, ...], of which some may be missing."""
    return next(len(part) for part in tangents if part is not None)


def tangents_or_zeros(tangents: Sequence[Tensor | None], of: Sequence[Tensor]) -> list[Tensor]:
    """Return tangents [K, M or 1, ...] of tensors [M or 1, ...], zeros [K, 1, ...] where they are missing."""
    count = count_tangents(tangents)
    return [
        part.new_zeros(count, 1, *part.shape[1:]) if tangent is None else tangent
        for tangent, part in zip(tangents, of, strict=True)
    ]


def products_with_gradients(
    backward: Callable[..., tuple[Tensor | None, ...]],
    tangents: Sequence[Tensor | None],
    results: Sequence[Tensor | None],
    *arguments: Any,
) -> tuple[Tensor | None, ...]:
    """Return the tangents of results of few numbers: products of their gradients, one pass each, with a tangent.

    results: zeros in the shape of each, None of one without derivative. Only the first of the arguments has one; if
        results have a dimension, each of their numbers depends on a row of its own of that argument.
    """
    moved = tangents[0]
    if moved is None:  # another argument has a tangent, and it counts for nothing
        count = count_tangents(tangents)
        return tuple(None if part is None else part.new_zeros(count, *part.shape) for part in results)
    wants = [True] + [False] * (len(arguments) - 1)
    found: list[Tensor | None] = []
    for result in results:
        if result is not None:
            grads = [torch.ones_like(part) if part is result else part for part in results]
            gradient = backward(*grads, *arguments, wants)[0]
            found.append((moved * gradient).flatten(1 + result.dim()).sum(-1))
        else:
            found.append(None)
    return tuple(found)
