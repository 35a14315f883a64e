"""Tensors as the arrays that compiled kernels take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch._C import _functorch

from diffrender.derivatives import constant

# The usual number of channels, for which kernels have loops of known length.
COLOR = 3


def as_numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Return contiguous NumPy views of CPU tensors, without their derivatives; copies only of what is not contiguous.

    Raises BackendError under torch.vmap over these values.
    """
    # An image asks for about eighty: a detached tensor costs more than to look whether it is needed.
    is_wrapped = _functorch.is_functorch_wrapped_tensor
    return tuple(
        (constant(tensor) if tensor.requires_grad or is_wrapped(tensor) else tensor).contiguous().numpy()
        for tensor in tensors
    )


def count_tangents(tangents: Sequence[Tensor | None]) -> int:
    """Return K of tangents [K, ...], of which some may be missing."""
    return next(len(part) for part in tangents if part is not None)


def tangent_or_none(tangent: Tensor | None, of: Tensor) -> np.ndarray:
    """Return a tangent [K, ...] of a tensor as an array, [0, ...] if it is missing."""
    return as_numpy(of.new_empty((0, *of.shape)) if tangent is None else tangent)[0]


def tangents_or_zeros(tangents: Sequence[Tensor | None], of: Sequence[Tensor]) -> list[Tensor]:
    """Return tangents [K, M or 1, ...] of tensors [M or 1, ...], zeros [K, 1, ...] where they are missing."""
    count = count_tangents(tangents)
    return [
        part.new_zeros(count, 1, *part.shape[1:]) if tangent is None else tangent
        for tangent, part in zip(tangents, of, strict=True)
    ]
