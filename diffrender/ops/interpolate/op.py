"""The op `interpolate`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def interpolate(values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor, *, backend: str | None = None) -> Tensor:
    """[M, C]: out[m] = sum over corners c of bary[m, c] values[faces[face_id[m], c]].

    Differentiable in values and bary.

    values: [V, C] float32 or float64; faces: [F, 3] int64; face_id: [M] int64; bary: [M, 3], dtype of values.
    """
    check_tensors(
        "interpolate",
        values=(values, "V C"),
        faces=(faces, "int64: F 3"),
        face_id=(face_id, "int64: M"),
        bary=(bary, "M 3"),
    )
    return run_differentiable("interpolate", backend, values, faces, face_id, bary)
