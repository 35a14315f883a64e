"""The op `normalize`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable

# Shorter vectors have no direction.
LEAST_LENGTH = 1e-12


def normalize(vectors: Tensor, *, backend: str | None = None) -> Tensor:
    """[M, 3] the vectors [M, 3] divided by their lengths; zero, with zero gradient, where that is below LEAST_LENGTH.

    As torch.nn.functional.normalize, but for vectors without length, whose gradient there is 1e12 times what comes in.
    Float32 or float64. Differentiable.
    """
    check_tensors("normalize", vectors=(vectors, "M 3"))
    return run_differentiable("normalize", backend, vectors)
