"""The op `interpolate`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_index, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


def interpolate(values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor, *, backend: str | None = None) -> Tensor:
    """[M, C]: out[m] = sum over corners c of bary[m, c] values[faces[face_id[m], c]].

    Differentiable in values and bary.

    values: [V, C] float32 or float64; faces: [F, 3] int64; face_id: [M] int64; bary: [M, 3], dtype of values.
    """
    check_shape("interpolate", "values", values, ("V", "C"))
    check_float("interpolate", "values", values)
    check_shape("interpolate", "faces", faces, ("F", 3))
    check_index("interpolate", "faces", faces)
    check_shape("interpolate", "face_id", face_id, ("M",))
    check_index("interpolate", "face_id", face_id)
    check_shape("interpolate", "bary", bary, (len(face_id), 3))
    check_same_device("interpolate", values=values, faces=faces, face_id=face_id, bary=bary)
    check_same_dtype("interpolate", values=values, bary=bary)
    name, module = implementation("interpolate", values.device, backend)
    if name == "reference":
        return module.forward(values, faces, face_id, bary)
    return _Interpolate.apply(values, faces, face_id, bary, module)  # type: ignore[return-value]


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor, module: Any) -> Tensor:
        ctx.save_for_backward(values, faces, face_id, bary)
        ctx.module = module
        return module.forward(values, faces, face_id, bary)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        wants_values, _, _, wants_bary, _ = ctx.needs_input_grad
        grad_values, grad_bary = ctx.module.backward(grad_out, *ctx.saved_tensors, wants_values, wants_bary)
        return grad_values, None, None, grad_bary, None
