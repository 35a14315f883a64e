"""What all tests share: the helpers in tests/support, quiet threads, devices, poisoned memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffrender import memory

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("support")
if not torch.cuda.is_available() and find_spec("triton"):
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Every test starts with one thread: small work is quickest so. Tests of threads set their own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the plain PyTorch implementation runs: the CPU, and a GPU if there is one."""
    return torch.device(request.param)


def _poisoned(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        _poisoned(torch.from_numpy(array))
    elif array.is_floating_point():
        torch.Tensor.fill_(array, torch.nan)
    elif array.dtype == torch.bool:
        torch.Tensor.fill_(array, True)
    else:
        torch.Tensor.fill_(array, -7)  # an index that is wrong, yet near enough not to crash the process
    return array


@contextmanager
def _poison() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for owner, names in (
            (torch, ("empty", "empty_like")),
            (torch.Tensor, ("new_empty",)),
            (np, ("empty", "empty_like")),
            (memory, ("empty",)),
        ):
            for name in names:
                original: Callable[..., Any] = getattr(owner, name)
                patch.setattr(owner, name, lambda *a, _original=original, **k: _poisoned(_original(*a, **k)))
        yield


@pytest.fixture
def poisoned_memory() -> Callable[[], AbstractContextManager[None]]:
    """`with poisoned_memory():` fresh memory holds NaN (floats), -7 (integers) or True (bools) instead of luck.

    Run the same work once before: kernels must not be compiled while NumPy is patched.
    """
    return _poison
