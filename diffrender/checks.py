"""Tensor checks that name the function and the argument."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.errors import ShapeError


def check_shape(function: str, argument: str, value: Tensor, shape: Sequence[int | str | None]) -> None:
    """Raise unless `value` is a tensor of `shape`; a name or None stands for any size, a number for that size."""
    if not isinstance(value, Tensor):
        raise ShapeError(f"{function}: {argument} must be a torch.Tensor, got {type(value).__name__}")
    # A plain loop: this runs some forty times an image.
    have = value.shape
    matches = len(have) == len(shape)
    if matches:
        for size, want in zip(have, shape, strict=True):
            if size != want and isinstance(want, int):
                matches = False
    if not matches:
        wanted = ", ".join("*" if size is None else str(size) for size in shape)
        raise ShapeError(f"{function}: {argument} must have shape [{wanted}], got {list(have)}")


def check_float(function: str, argument: str, value: Tensor) -> None:
    """Raise unless `value` is float32 or float64."""
    if value.dtype not in (torch.float32, torch.float64):
        raise ShapeError(
            f"{function}: {argument} must be float32 or float64, got {value.dtype}; convert it with .float()"
        )


def check_index(function: str, argument: str, value: Tensor) -> None:
    """Raise unless `value` is int64."""
    if value.dtype != torch.int64:
        raise ShapeError(f"{function}: {argument} must be int64, got {value.dtype}; convert it with .long()")


def check_same_device(function: str, **tensors: Tensor) -> None:
    """Raise unless all the named tensors live on one device."""
    devices = {name: value.device for name, value in tensors.items()}
    if len(set(devices.values())) > 1:
        listing = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ShapeError(f"{function}: arguments must share one device, got {listing}; move them with .to(device)")


def check_same_dtype(function: str, **tensors: Tensor) -> None:
    """Raise unless all the named tensors have one dtype."""
    dtypes = {name: value.dtype for name, value in tensors.items()}
    if len(set(dtypes.values())) > 1:
        listing = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise ShapeError(f"{function}: arguments must share one dtype, got {listing}; convert them with .to(dtype)")


def check_finite(function: str, argument: str, value: Tensor) -> None:
    """Raise if `value` holds a NaN or an infinity, naming the first bad index."""
    finite = torch.isfinite(value)
    if not bool(finite.all()):
        bad = (~finite).nonzero()
        raise ShapeError(
            f"{function}: {argument} must be finite, got {value[tuple(bad[0])].item()} at index {bad[0].tolist()}"
            f" ({len(bad)} such values in all)"
        )


def check_indices_below(function: str, argument: str, value: Tensor, limit: int, limit_name: str) -> None:
    """Raise unless every entry of the int64 tensor `value` is in 0..limit-1."""
    check_index(function, argument, value)
    if value.numel() == 0:
        return
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= limit:
        found = low if low < 0 else high
        raise ShapeError(f"{function}: {argument} must lie in 0..{limit - 1} ({limit_name}), found {found}")
