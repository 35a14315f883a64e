"""to_tensorflow: functions of PyTorch in TensorFlow, with the gradient of reverse mode; arrays are shared by DLPack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.programs.bridges.imported import imported

# Bytes; TensorFlow ends the process at tensors that begin elsewhere, as part of another may.
ALIGNMENT = 64


def to_tensorflow(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors as one of TensorFlow's, which tf.GradientTape differentiates, once.

        image = bridges.to_tensorflow(lambda vertices: render(vertices).rgba)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(image(vertices))
        gradient = tape.gradient(loss, vertices)

    function: of tensors, which it must not change; it returns a tensor or a tuple of tensors. Inside tf.function call
        it by tf.py_function, which has gradients too.

    Raises BackendError if TensorFlow is not installed; ShapeError for complex numbers, which have no derivative here.
    """
    tf = imported("tensorflow", "to_tensorflow")

    def shared(each: Any) -> Tensor:
        return torch.from_dlpack(tf.experimental.dlpack.to_dlpack(tf.convert_to_tensor(each)))

    def given_back(tensor: Tensor) -> Any:
        tensor = tensor.detach().contiguous()
        if tensor.data_ptr() % ALIGNMENT:
            tensor = tensor.clone()
        return tf.experimental.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(tensor))

    @tf.custom_gradient
    def call(*arguments: Any) -> Any:
        tensors = [shared(each) for each in arguments]
        moving = [each.requires_grad_() for each in tensors if each.dtype.is_floating_point]
        with torch.enable_grad():
            found = function(*tensors)
        parts = found if isinstance(found, tuple) else (found,)
        for each in (*tensors, *parts):
            if each.is_complex():
                raise ShapeError(
                    f"bridges.to_tensorflow: complex numbers have no derivative here, got {each.dtype}; pass real and"
                    " imaginary parts"
                )

        def gradient(*grads: Any) -> Sequence[Any]:
            pairs = [(part, shared(g)) for part, g in zip(parts, grads, strict=True) if part.requires_grad]
            rows: Sequence[Any] = [None] * len(moving)
            if pairs:
                values, given = zip(*pairs, strict=True)
                rows = torch.autograd.grad(values, moving, given, retain_graph=True, allow_unused=True)
            left = iter(rows)
            of_each = [next(left) if each.dtype.is_floating_point else None for each in tensors]
            return [None if row is None else given_back(row) for row in of_each]

        values = tuple(given_back(part) for part in parts)
        return (values if isinstance(found, tuple) else values[0]), gradient

    return call
