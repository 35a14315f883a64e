from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from support.triangle_soups import DTYPES, assert_same_bits, assert_same_for_any_threads

from diffrender import memory
from diffrender.ops.scatter import MOST_PARTS, sum_into


def add_rows(start: int, end: int, total: np.ndarray, values: np.ndarray, target: np.ndarray) -> None:
    np.add.at(total, target[start:end], values[start:end])


def problem(n_items: int, n_rows: int, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(n_items)
    values = torch.randn(n_items, 3, generator=generator, dtype=dtype)
    return values.numpy(), torch.randint(n_rows, (n_items,), generator=generator).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n_items", "n_rows"), [(0, 5), (1, 5), (4000, 5), (100_000, 5), (20_000, 60_000)])
def test_is_the_sum(dtype: torch.dtype, n_items: int, n_rows: int) -> None:
    values, target = problem(n_items, n_rows, dtype)
    total = sum_into((n_rows, 3), dtype, n_items, add_rows, values, target)
    expected = torch.zeros(n_rows, 3, dtype=torch.float64)
    expected.index_add_(0, torch.from_numpy(target), torch.from_numpy(values).double())
    assert total.dtype == dtype and total.shape == (n_rows, 3)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(total.double(), expected, rtol=tolerance, atol=tolerance * max(1, n_items) ** 0.5)


def test_same_bits_for_any_number_of_threads() -> None:
    for n_items, n_rows in ((3000, 7), (100_000, 7), (100_000, 30_000)):
        values, target = problem(n_items, n_rows, torch.float32)
        assert_same_for_any_threads(
            lambda v=values, t=target, m=n_items, r=n_rows: sum_into((r, 3), torch.float32, m, add_rows, v, t)
        )


def test_partial_sums_never_cost_much_more_than_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    zeros = memory.zeros
    monkeypatch.setattr(memory, "zeros", lambda *a: (sizes.append(int(np.prod(a[0]))), zeros(*a))[1])
    for n_items, n_rows, parts in ((100, 10, 1), (8192, 10, 4), (100_000, 10, MOST_PARTS), (100_000, 1_000_000, 1)):
        values, target = problem(n_items, n_rows, torch.float32)
        sum_into((n_rows, 3), torch.float32, n_items, add_rows, values, target)
        assert sizes.pop() == parts * n_rows * 3


def test_result_does_not_depend_on_what_memory_held(
    poisoned_memory: Callable[[], AbstractContextManager[None]],
) -> None:
    values, target = problem(50_000, 11, torch.float32)
    expected = sum_into((11, 3), torch.float32, 50_000, add_rows, values, target)
    with poisoned_memory():
        assert_same_bits(sum_into((11, 3), torch.float32, 50_000, add_rows, values, target), expected)
