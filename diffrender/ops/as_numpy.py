"""Tensors as the arrays that compiled kernels take."""

from __future__ import annotations

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


def tangent_or_none(tangent: Tensor | None, of: Tensor) -> np.ndarray:
    """Return a tangent [K, ...] of a tensor as an array, [0, ...] if it is missing."""
    return as_numpy(of.new_empty((0, *of.shape)) if tangent is None else tangent)[0]
