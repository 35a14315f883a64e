"""Launch Triton kernels: on the device of their tensors, and under the tests' eyes. What they take of tangents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, programs: int, *arguments: Any, **constants: Any) -> None:
    """Run `programs` programs of a Triton kernel on the device of its first argument, a tensor; none is no launch.

    `constants` are the kernel's `tl.constexpr` parameters by name, and options such as num_warps if it is not 4.
    """
    if programs == 0:
        return
    first: Tensor = arguments[0]
    if first.is_cuda and first.device.index != torch.cuda.current_device():
        with torch.cuda.device(first.device):
            _start(kernel, programs, arguments, constants)
    else:
        _start(kernel, programs, arguments, constants)


def _start(kernel: Any, programs: int, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
    kernel[(programs,)](*arguments, **constants)


def tangents_or(of: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> tuple[list[Tensor], list[bool]]:
    """Return contiguous tangents, what they are of in the place of those that are missing, and which there are."""
    given = [tangent is not None for tangent in tangents]
    return [
        part if tangent is None else tangent.contiguous() for part, tangent in zip(of, tangents, strict=True)
    ], given
