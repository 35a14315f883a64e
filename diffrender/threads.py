"""Run compiled kernels on several threads, and choose where Numba keeps them.

A kernel is a function `kernel(start, end, *arguments)` that releases the global interpreter lock (GIL) and writes only
the outputs of the items start..end-1, so the result does not depend on the number of threads.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")
PIECES_PER_THREAD = 6

_kernel_threads: ContextVar[int | None] = ContextVar("kernel_threads", default=None)


def _choose_kernel_cache() -> None:
    """Let Numba keep compiled kernels in a temporary folder if it can write neither beside them nor at home."""
    package = os.path.dirname(os.path.abspath(__file__))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    while not os.path.exists(home) and os.path.dirname(home) != home:
        home = os.path.dirname(home)
    if "NUMBA_CACHE_DIR" in os.environ or os.access(package, os.W_OK) or os.access(home, os.W_OK):
        return
    folder = os.path.join(tempfile.gettempdir(), f"diffrender_kernels_{getattr(os, 'getuid', int)()}")
    os.environ["NUMBA_CACHE_DIR"] = folder
    if "numba" in sys.modules:  # which reads the variable when it is imported
        sys.modules["numba"].config.CACHE_DIR = folder  # type: ignore[attr-defined]
    print(f"diffrender: installation and home are read-only; compiled kernels are kept in {folder}", file=sys.stderr)


_choose_kernel_cache()


def kernel_threads() -> int:
    """Return the number of threads a kernel runs on: that set by `threads_to_kernels`, otherwise torch's."""
    chosen = _kernel_threads.get()
    return torch.get_num_threads() if chosen is None else chosen


@contextmanager
def threads_to_kernels(n_threads: int) -> Iterator[None]:
    """Run kernels on `n_threads` threads and torch's own operations on one, inside this context.

    torch's threads busy-wait for work. If kernels and torch alternate on the same cores, or another process needs a
    core, that costs more than it gains: a 512 x 512 step took 330 instead of 30 ms. A single torch thread also fixes
    the order of summation, so a whole fit is independent of the number of threads.
    """
    torch_threads = torch.get_num_threads()
    token = _kernel_threads.set(n_threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        _kernel_threads.reset(token)


def on_kernel_threads(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function run as inside `threads_to_kernels`, its kernels on as many threads as they had.

    So torch's small operations between kernels do not wake torch's threads, which would take the cores from the
    kernels for milliseconds. Another thread that runs its first torch operation at that very time copies torch's
    number, 1, for good: for its own operations, and for kernels that it starts. A pool of threads should run such an
    operation before, or call torch.set_num_threads in each.
    """

    @wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        if torch.get_num_threads() == 1:
            return function(*arguments, **options)
        with threads_to_kernels(kernel_threads()):
            return function(*arguments, **options)

    return run


class _Share:
    """What one other thread does of a kernel's work, if it begins before the caller is done.

    Two locks, because the futures of a ThreadPoolExecutor cost as much as a small kernel.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.error: BaseException | None = None
        self.is_taken, self.is_running = Lock(), Lock()
        self.is_running.acquire()

    def run(self) -> None:
        """Do the work, unless the caller is done already."""
        if self.is_taken.acquire(blocking=False):
            try:
                self.work()
            except BaseException as error:
                self.error = error
            finally:
                self.is_running.release()

    def wait(self) -> KeyboardInterrupt | None:
        """Wait until the work is done; return a Ctrl-C in the meantime, after which it may not be."""
        try:
            self.is_running.acquire()
        except KeyboardInterrupt as interruption:
            return interruption
        return None


def _wait_for_all(shares: Sequence[_Share]) -> None:
    """Wait for all threads that have begun, and raise the first error, or a Ctrl-C in the meantime."""
    errors: list[BaseException] = []
    for share in shares:
        # One that has not begun by now, because other programs occupy its core, has nothing left to do.
        while not share.is_taken.acquire(blocking=False) and (interruption := share.wait()) is not None:
            errors.insert(0, interruption)
        if share.error is not None:
            errors.append(share.error)
    if errors:
        raise errors[0]


_shares: SimpleQueue[_Share] = SimpleQueue()
_n_started = 0
_starting = Lock()


def _start_threads(n_threads: int) -> None:
    """Start as many threads as are missing; they wait for shares as long as the process lives."""
    global _n_started
    with _starting:
        while _n_started < n_threads:
            _n_started += 1
            Thread(target=_run_shares, name=f"diffrender_{_n_started}", daemon=True).start()


def _run_shares() -> None:
    while True:
        _shares.get().run()


def _forget_threads() -> None:
    """In a forked process there is only the thread that forked it."""
    global _n_started, _shares, _starting
    _n_started, _shares, _starting = 0, SimpleQueue(), Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def parallel_for(kernel: Callable[..., None], n_items: int, grain: int, *arguments: object) -> None:
    """Run `kernel` over the items 0..n_items-1 in pieces of about `grain` or more, in any order, on all kernel threads.

    A few pieces per thread balance the load; each further piece costs one acquisition of the GIL. The results of the
    kernel must not depend on where pieces begin and end.
    """
    n_threads = kernel_threads()
    n_pieces = min(-(-n_items // grain), PIECES_PER_THREAD * n_threads)
    n_threads = min(n_threads, n_pieces)
    if n_threads <= 1:
        if n_items:
            kernel(0, n_items, *arguments)
        return
    pieces = count()  # next() on it is atomic

    def work() -> None:
        while (piece := next(pieces)) < n_pieces:
            kernel(piece * n_items // n_pieces, (piece + 1) * n_items // n_pieces, *arguments)

    if _n_started < n_threads - 1:
        _start_threads(n_threads - 1)
    others = [_Share(work) for _ in range(n_threads - 1)]
    for other in others:
        _shares.put(other)
    try:
        work()
    finally:
        _wait_for_all(others)
