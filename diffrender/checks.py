"""Checks of arguments whose errors name the function and the argument."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.list_sizes import is_kept

VOWELS = "AEIOU"


def check_type(function: str, argument: str, value: object, kind: type | tuple[type, ...], wanted: str = "") -> None:
    """Raise unless `value` is an instance of `kind`. wanted: what to give instead; default: the name of `kind`."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = wanted or " or ".join(
            f"{'an' if each.__name__[0] in VOWELS else 'a'} {each.__name__}" for each in kinds
        )
        raise ShapeError(f"{function}: {argument} must be {wanted}, got {type(value).__name__}")


def as_path(function: str, argument: str, value: str | os.PathLike[str]) -> Path:
    """Return a path. Raises ShapeError unless `value` is one or its text."""
    check_type(function, argument, value, (str, os.PathLike), "a path or its text")
    return Path(value)


def check_number(function: str, argument: str, value: object, *, whole: bool = False) -> None:
    """Raise unless `value` is a number, which a tensor or array of no dimensions is as well; a whole one if `whole`."""
    kind, found = (Integral if whole else Real), value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        found = value.item()
    if not isinstance(found, kind) or isinstance(found, bool):
        shown = found if isinstance(found, (str, Real)) else type(found).__name__
        raise ShapeError(f"{function}: {argument} must be a {'whole ' if whole else ''}number, got {shown!r}")


def as_point(function: str, argument: str, value: Any) -> tuple[float, float, float]:
    """Return a point as numbers. Raises ShapeError unless `value` is three finite ones: a sequence, array or tensor."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.zeros(0)
    if tuple(numbers.shape) != (3,) or not bool(numbers.isfinite().all()):
        raise ShapeError(f"{function}: {argument} must be three finite numbers, got {value!r}")
    x, y, z = numbers.tolist()
    return x, y, z


def check_shape(function: str, argument: str, value: Tensor, shape: Sequence[int | str | None]) -> None:
    """Raise unless `value` is a tensor of `shape`; a name or None matches any size, a number only that size."""
    if not isinstance(value, Tensor):
        raise ShapeError(f"{function}: {argument} must be a torch.Tensor, got {type(value).__name__}")
    # A plain loop, because this runs about forty times per image.
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


def check_colors(function: str, argument: str, value: Tensor) -> None:
    """Raise if `value` holds whole numbers: colours are linear in 0..1 here, and bytes of pictures are sRGB."""
    if not value.is_floating_point():
        raise ShapeError(
            f"{function}: {argument} must be floats, linear RGB in 0..1, got {value.dtype}; of sRGB bytes these are"
            " imaging.color.linear_from_srgb(bytes / 255)"
        )


def in_one_dtype(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in the dtype that PyTorch's arithmetic gives their sum."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def check_index(function: str, argument: str, value: Tensor) -> None:
    """Raise unless `value` is int64."""
    _check_dtype(function, argument, value, torch.int64)


def check_tensors(function: str, /, **arguments: tuple[Tensor, str]) -> None:
    """Raise unless each argument has the declared dtype and shape and all are on the same device.

        check_tensors("interpolate", values=(values, "V C"), faces=(faces, "int64: F 3"),
                      face_id=(face_id, "int64: M"), bary=(bary, "M 3"))

    Sizes are separated by spaces: a number; a name, which means the same size wherever it occurs; `1|M` for 1 or M;
    `C+1` for one more than C. The first argument that uses a name defines its size.
    The dtype precedes a colon: `int64`, `bool` etc. If omitted: float32 or float64, the same for all such arguments.
    `float:` is float32 or float64, independent of the other arguments.
    """
    sizes: dict[str, int] = {}
    floats: dict[str, object] = {}
    devices: dict[str, object] = {}
    for argument, (value, declaration) in arguments.items():
        dtype, shape = _parse(declaration)
        _check_sizes(function, argument, value, shape, sizes)
        if isinstance(dtype, torch.dtype):
            _check_dtype(function, argument, value, dtype)
        else:
            check_float(function, argument, value)
            if not dtype:
                floats[argument] = value.dtype
        devices[argument] = value.device
    _check_same(function, "device", devices)
    _check_same(function, "dtype", floats)


class _Size(NamedTuple):
    """One size of a declared shape: `fixed`, or the size `name` plus `more`; 1 is also valid if `or_one`."""

    text: str
    fixed: int | None
    name: str
    more: int
    or_one: bool


@cache
def _parse(declaration: str) -> tuple[torch.dtype | str, tuple[_Size, ...]]:
    """Return the dtype (or "float" or "") and the sizes of a declaration passed to check_tensors."""
    kind, _, shape = declaration.rpartition(":")
    sizes = []
    for text in shape.split():
        name, _, more = text.removeprefix("1|").partition("+")
        fixed = int(name) if name.isdecimal() else None
        sizes.append(_Size(text.replace("1|", "1 or "), fixed, name, int(more or 0), text.startswith("1|")))
    return (kind if kind in ("", "float") else getattr(torch, kind)), tuple(sizes)


def _check_sizes(function: str, argument: str, value: Tensor, shape: Sequence[_Size], known: dict[str, int]) -> None:
    """Raise unless `value` is a tensor of `shape`; add the sizes of new names to `known`."""
    if not isinstance(value, Tensor):
        raise ShapeError(f"{function}: {argument} must be a torch.Tensor, got {type(value).__name__}")
    n_known = len(known)
    matches = value.dim() == len(shape)
    if matches:
        for have, (_, fixed, name, more, or_one) in zip(value.shape, shape, strict=True):
            if fixed is not None:
                matches = matches and have == fixed
            elif not (or_one and have == 1):
                matches = matches and known.setdefault(name, have - more) == have - more
    if not matches:
        names = {size.name for size in shape}
        given = ", ".join(f"{name} = {size}" for name, size in list(known.items())[:n_known] if name in names)
        wanted = ", ".join(size.text for size in shape)
        raise ShapeError(
            f"{function}: {argument} must have shape [{wanted}]{given and ' with '}{given}, got {list(value.shape)}"
        )


def _check_dtype(function: str, argument: str, value: Tensor, dtype: torch.dtype) -> None:
    if value.dtype != dtype:
        raise ShapeError(
            f"{function}: {argument} must be {str(dtype).removeprefix('torch.')}, got {value.dtype};"
            f" convert it with .to({dtype})"
        )


def _check_same(function: str, what: str, values: dict[str, object]) -> None:
    """Raise unless all arguments have the same dtype or device."""
    if len(set(values.values())) > 1:
        listing = ", ".join(f"{argument} {value}" for argument, value in values.items())
        raise ShapeError(f"{function}: arguments must share one {what}, got {listing}; use .to({what})")


def check_finite(function: str, argument: str, value: Tensor) -> None:
    """Raise if `value` holds a NaN or an infinity, naming the first bad index."""
    if is_kept():
        return
    finite = torch.isfinite(value)
    if not bool(finite.all()):
        bad = (~finite).nonzero()
        raise ShapeError(
            f"{function}: {argument} must be finite, got {value[tuple(bad[0])].item()} at index {bad[0].tolist()}"
            f" ({len(bad)} such values in total)"
        )


def check_indices_below(function: str, argument: str, value: Tensor, limit: int, limit_name: str) -> None:
    """Raise unless every entry of the int64 tensor `value` is in 0..limit-1."""
    check_index(function, argument, value)
    if value.numel() == 0 or is_kept():
        return
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= limit:
        outside = low if low < 0 else high
        raise ShapeError(f"{function}: {argument} must be in 0..{limit - 1} ({limit_name}), got {outside}")
