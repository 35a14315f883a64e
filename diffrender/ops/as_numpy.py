"""Tensors as the arrays that compiled kernels take."""

from __future__ import annotations

import numpy as np
from torch import Tensor

# The usual number of channels, for which kernels have loops of known length.
COLOR = 3


def as_numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Return contiguous NumPy views of CPU tensors, without their gradients; copies only of what is not contiguous."""
    # An image asks for about eighty: a detached tensor costs more than to look whether it is needed.
    return tuple((tensor.detach() if tensor.requires_grad else tensor).contiguous().numpy() for tensor in tensors)
