"""Which tensors have derivatives, and how to leave them behind: gradients, tangents, and torch.func's of both.

Reverse mode marks a tensor with `requires_grad`. Forward mode gives it a tangent, which neither shows there nor stops
at `torch.no_grad`. Inside torch.func.jvp, grad and their kin a tensor is also wrapped, once per level.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from functools import cached_property, partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch import pyfunctorch
from torch.autograd import forward_ad

from diffrender.errors import BackendError

T = TypeVar("T")


def has_derivative(tensor: Tensor) -> bool:
    """Return whether a derivative is asked for with respect to the tensor or what it was made of, in either mode."""
    while not (tensor.requires_grad or forward_ad.unpack_dual(tensor).tangent is not None):
        if not _functorch.is_functorch_wrapped_tensor(tensor):
            return False
        tensor = _unwrap(tensor)
    return True


def tensors_within(holder: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples, sets and mappings, and in what objects and modules of PyTorch hold.

    Functions hold what they are bound to, but not what they close over or find in their module.
    """
    seen: set[int] = set()
    waiting = [holder]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | str | bytes | int | float | complex | None):
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple | Set | deque):
            waiting += each
        elif isinstance(each, MethodType):
            waiting.append(each.__self__)
        elif isinstance(each, partial):
            waiting += [each.args, each.keywords]
        elif not isinstance(each, FunctionType | BuiltinFunctionType):
            of_slots = [vars(base).get("__slots__", ()) for base in type(each).__mro__]
            names = [name for slots in of_slots for name in ([slots] if isinstance(slots, str) else slots)]
            waiting += [getattr(each, name, None) for name in [*names, "__dict__"]]


def constant(tensor: Tensor) -> Tensor:
    """Return the plain tensor of the same values, without any derivative: the tensor itself if it is one.

    Raises BackendError under torch.vmap, if it is the values that are mapped over and not the tangents.
    """
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _unwrap(tensor)
    return tensor.detach() if has_derivative(tensor) else tensor


def _unwrap(tensor: Tensor) -> Tensor:
    if _functorch.is_batchedtensor(tensor):
        raise refusal_of_vmap()
    return _functorch.get_unwrapped(tensor)


def refusal_of_vmap() -> BackendError:
    """Return the error of torch.vmap over values: what is visible is found for one scene at a time."""
    return BackendError(
        "torch.vmap over scenes, cameras or other values is not possible; render several views as one batch (Cameras of"
        " N), and several scenes in a loop. vmap over tangents is: torch.func.jacfwd does so"
    )


@contextmanager
def without_derivatives() -> Iterator[None]:
    """Compute values alone: as torch.no_grad, for tangents as well. A context and a decorator."""
    with torch.no_grad(), forward_ad._set_fwd_grad_enabled(False):
        yield


@contextmanager
def on_plain_tensors() -> Iterator[None]:
    """Compute on plain tensors alone (`constant`), and make no others: as outside of torch.func's transformations.

    What is discrete is computed so, and what is kept for later calls.
    """
    with torch.no_grad(), pyfunctorch.temporarily_clear_interpreter_stack():
        yield


class plain_property(cached_property[T]):  # noqa: N801
    """A cached_property that is made `on_plain_tensors`, out of such alone."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Compute the value; later uses find it in the instance."""
        if instance is None:
            return self
        with on_plain_tensors():
            return super().__get__(instance, owner)


@contextmanager
def with_derivatives() -> Iterator[None]:
    """Undo `without_derivatives`, for values that are kept and serve others."""
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        yield
