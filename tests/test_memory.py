from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from diffrender import memory

ROWS = memory.LEAST_BYTES // 4096  # of 1024 numbers: the smallest results that are kept


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_kept", memory._KeptBlocks())
    yield


def test_memory_is_used_again_once_the_last_view_is_gone() -> None:
    first = memory.empty((ROWS, 1024), torch.float32)
    place, row = first.data_ptr(), first[3].double() + first[3]
    view = first[3]
    del first
    assert memory.empty((ROWS, 1024), torch.float32).data_ptr() != place
    assert view.data_ptr() == place + 3 * 4096 and row.shape == (1024,)
    del view
    again = memory.empty((2 * ROWS, 256), torch.int64)
    assert again.data_ptr() == place and again.is_contiguous() and again.shape == (2 * ROWS, 256)


def test_what_the_graph_holds_is_not_used_again() -> None:
    leaf = torch.ones(ROWS, 1024, requires_grad=True)
    factor = memory.zeros((ROWS, 1024), torch.float32) + 0
    factor = memory.empty((ROWS, 1024), torch.float32).copy_(factor + 2)
    result = (leaf * factor).sum()
    del factor
    memory.zeros((ROWS, 1024), torch.float32)
    result.backward()
    assert leaf.grad is not None and bool((leaf.grad == 2).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.bool])
def test_shape_dtype_and_alignment(dtype: torch.dtype) -> None:
    for rows in (0, 3, ROWS, 9 * ROWS + 1):
        tensor = memory.zeros((rows, 1024), dtype)
        assert tensor.shape == (rows, 1024) and tensor.dtype == dtype and not bool(tensor.any())
        assert tensor.untyped_storage().nbytes() == tensor.numel() * dtype.itemsize
        assert tensor.data_ptr() % 64 == 0


def test_tensors_may_live_until_the_program_ends() -> None:
    """Where something holds the module itself, its names are gone before what was put there last."""
    code = "import sys, torch; from diffrender import memory; sys.held = memory; "
    code += f"memory.last = memory.zeros(({ROWS}, 1024), torch.float32)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_size_takes_at_most_an_eighth_more() -> None:
    for n_bytes in (memory.LEAST_BYTES, memory.LEAST_BYTES + 1, 10**6, 2**24 - 1, 2**30 + 1):
        assert n_bytes <= memory._round_up(n_bytes) <= n_bytes * 1.125 + 1


def test_unused_memory_is_bounded_and_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_BYTES", 3 * memory.LEAST_BYTES)
    monkeypatch.setattr(memory, "PATIENCE", 5)
    several = [memory.empty((ROWS, 1024), torch.float32) for _ in range(6)]
    del several
    assert sum(map(len, memory._kept.returned)) == 3 * memory.LEAST_BYTES
    for _ in range(10):
        memory.empty((2 * ROWS, 1024), torch.float32)
    sizes = {size for size, kept in memory._kept.blocks.items() if kept}
    assert sizes <= {2 * memory.LEAST_BYTES} and memory._kept.n_bytes <= 3 * memory.LEAST_BYTES


def test_threads_never_share_memory() -> None:
    found: list[bool] = []

    def work(number: int) -> None:
        for turn in range(200):
            mine = memory.empty((ROWS, 1024 + 128 * (turn % 3)), torch.int64).fill_(number)
            found.append(bool((mine == number).all()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1200 and all(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_of_the_other() -> None:
    with memory._kept.lock:  # as of another thread, in the middle of a request
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            memory.empty((ROWS, 1024), torch.float32)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
