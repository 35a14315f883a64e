"""Divide vectors by their lengths."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable

# Shorter vectors have no direction.
LEAST_LENGTH = 1e-12


def normalize(vectors: Tensor, *, backend: str | None = None) -> Tensor:
    """Divide vectors by their lengths; zero vectors stay zero.

    As torch.nn.functional.normalize(vectors, dim=1), except for vectors shorter than LEAST_LENGTH: they become zero and
    get a gradient of zero, where PyTorch multiplies what comes in by 1e12. Differentiable.

        to_camera = normalize(eye - position)                                   # [M, 3]

    vectors: [M, 3] float32 or float64. A NaN stays one.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for another shape or dtype.
    """
    check_tensors("normalize", vectors=(vectors, "M 3"))
    return run_differentiable("normalize", backend, vectors)
