from __future__ import annotations

import torch
from support.triangle_soups import both_dtypes, every_backend

from diffrender.ops.changes_across import changes_across


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    values = torch.tensor([[0.0, 0], [3, 4], [0, 0], [torch.nan, 0]], dtype=dtype)
    sides = torch.tensor([
        [[0, 0], [2, 2]],  # equal values
        [[0, 0], [2, 1]],  # 5 apart at the second end
        [[1, 0], [0, 0]],  # 5 apart at the first
        [[0, 0], [3, 0]],  # a NaN
    ])  # fmt: skip
    assert changes_across(values, sides, 4.9, backend=backend).tolist() == [False, True, True, False]
    assert not bool(changes_across(values, sides, 5.0, backend=backend).any())
