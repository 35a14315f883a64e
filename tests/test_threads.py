from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from support.shapes import triangle

from diffrender.errors import ShapeError
from diffrender.ops.antialias import numba_cpu
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.threads import kernel_threads, parallel_for, threads_to_kernels


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize(("n_items", "grain"), [(1, 1), (7, 3), (6, 3), (100, 1), (5, 100), (1000, 7)])
def test_every_item_is_processed_once(n_threads: int, n_items: int, grain: int) -> None:
    torch.set_num_threads(n_threads)
    visits = np.zeros(n_items, np.int64)

    def visit(start: int, end: int, out: np.ndarray) -> None:
        assert 0 <= start < end <= n_items
        out[start:end] += 1

    parallel_for(visit, n_items, grain, visits)
    assert visits.tolist() == [1] * n_items


@pytest.mark.parametrize(
    ("n_threads", "n_items", "grain", "n_pieces"), [(2, 10, 4, 3), (3, 10, 4, 3), (2, 1000, 1, 12)]
)
def test_pieces_are_about_a_grain_and_a_few_per_thread(n_threads: int, n_items: int, grain: int, n_pieces: int) -> None:
    torch.set_num_threads(n_threads)
    found: list[tuple[int, int]] = []
    parallel_for(lambda start, end: found.append((start, end)), n_items, grain)
    sizes = [end - start for start, end in found]
    assert len(found) == n_pieces and sum(sizes) == n_items
    assert max(sizes) - min(sizes) <= 1


def test_nothing_to_do() -> None:
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        parallel_for(_fail, 0, 16)


def _fail(start: int, end: int) -> None:
    raise ArithmeticError(f"{start}..{end}")


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_in_a_kernel_reaches_the_caller_and_threads_survive(n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    with pytest.raises(ArithmeticError):
        parallel_for(_fail, 100, 1)
    test_every_item_is_processed_once(n_threads, 50, 3)


def test_threads_work_at_the_same_time() -> None:
    torch.set_num_threads(3)
    barrier = threading.Barrier(3, timeout=10)
    parallel_for(lambda start, end: barrier.wait() and None, 3, 1)
    assert not barrier.broken


def test_two_callers_at_once_do_not_wait_for_each_other() -> None:
    torch.set_num_threads(2)
    total = np.zeros((2, 4000), np.int64)

    def add(start: int, end: int, row: int) -> None:
        total[row, start:end] += 1

    callers = [threading.Thread(target=parallel_for, args=(add, 4000, 1, row)) for row in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
        assert not caller.is_alive()
    assert bool((total == 1).all())


def test_threads_to_kernels_sets_and_restores_the_threads_of_torch() -> None:
    torch.set_num_threads(2)
    assert kernel_threads() == 2
    with threads_to_kernels(3):
        assert (kernel_threads(), torch.get_num_threads()) == (3, 1)
        _use_all(3)
    assert (kernel_threads(), torch.get_num_threads()) == (2, 2)
    with pytest.raises(ArithmeticError), threads_to_kernels(4):
        parallel_for(_fail, 4, 1)
    assert (kernel_threads(), torch.get_num_threads()) == (2, 2)


def test_images_and_their_gradients_leave_the_cores_to_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for name in ("forward", "backward"):
        own = getattr(numba_cpu, name)
        monkeypatch.setattr(
            numba_cpu,
            name,
            lambda *arguments, own=own: (seen.append((kernel_threads(), torch.get_num_threads())), own(*arguments))[1],
        )
    mesh = triangle()
    vertices = mesh.vertices.clone().requires_grad_()
    scene = Scene({"it": Object(mesh.with_vertices(vertices), Unlit(torch.ones(3)))})
    torch.set_num_threads(3)
    image = render(scene, Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), height=16, width=16)).rgba
    assert torch.get_num_threads() == 3
    image.sum().backward()
    assert torch.get_num_threads() == 3 and vertices.grad is not None
    assert seen == [(3, 1), (3, 1)]
    with pytest.raises(ShapeError):
        render(Scene({}), Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), height=16, width=16))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("blur", lambda blur, x: blur(x[None], 1.0)),
        ("mip_pyramid", lambda mip_pyramid, x: mip_pyramid(x).texels),
        ("collapse_pyramid", lambda collapse_pyramid, x: collapse_pyramid(x.reshape(-1, 3)[:20], 4, 4, 1)),
    ],
)
def test_so_do_linear_ops(monkeypatch: pytest.MonkeyPatch, op: str, call: Any) -> None:
    module = import_module(f"diffrender.ops.{op}.numba_cpu")
    own, seen = module.backward, []
    monkeypatch.setattr(
        module, "backward", lambda *given, **more: (seen.append(torch.get_num_threads()), own(*given, **more))[1]
    )
    torch.set_num_threads(3)
    call(getattr(import_module(f"diffrender.ops.{op}"), op), torch.rand(8, 8, 3, requires_grad=True)).sum().backward()
    assert seen == [1] and torch.get_num_threads() == 3


def test_so_do_tangents(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("diffrender.ops.normalize.numba_cpu")
    own, seen = module.jvp, []
    monkeypatch.setattr(module, "jvp", lambda *given: (seen.append(torch.get_num_threads()), own(*given))[1])
    torch.set_num_threads(3)
    vectors = torch.rand(5, 3)
    torch.func.jvp(import_module("diffrender.ops.normalize").normalize, (vectors,), (vectors,))
    assert seen == [1] and torch.get_num_threads() == 3


def _use_all(n_threads: int) -> None:
    barrier = threading.Barrier(n_threads, timeout=10)
    work: Callable[[int, int], None] = lambda start, end: barrier.wait() and None  # noqa: E731
    parallel_for(work, n_threads, 1)


def test_it_returns_only_when_the_other_threads_are_done() -> None:
    torch.set_num_threads(2)
    main = threading.current_thread()
    began, done = threading.Event(), []

    def work(start: int, end: int) -> None:
        if threading.current_thread() is main:
            began.wait(10)  # until the other thread has a piece
        else:
            began.set()
            time.sleep(0.2)
        done.append((start, end))

    parallel_for(work, 2, 1)
    assert sorted(done) == [(0, 1), (1, 2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    torch.set_num_threads(3)
    _use_all(3)
    child = os.fork()
    if child == 0:
        _use_all(3)  # would time out with an error
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_error_does_not_leave_other_threads_at_work() -> None:
    torch.set_num_threads(3)
    main, slow_began, finished = threading.current_thread(), threading.Event(), []
    first = threading.Lock()

    def work(start: int, end: int) -> None:
        if threading.current_thread() is main:
            slow_began.wait(10)
        elif first.acquire(blocking=False):
            slow_began.wait(10)
            raise ArithmeticError("the first of the others")
        else:
            slow_began.set()
            time.sleep(0.3)
            finished.append(start)

    with pytest.raises(ArithmeticError):
        parallel_for(work, 3, 1)
    assert len(finished) == 1
