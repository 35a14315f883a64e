from __future__ import annotations

import math

import pytest
import torch
from support.op_problems import LAMBERT_INPUTS, lambert_problem
from support.triangle_soups import (
    assert_all_finite,
    both_dtypes,
    every_backend,
)

from diffrender.ops.lambert import lambert


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    normal = torch.tensor([[0.0, 0, 1]], dtype=dtype)
    to_light = torch.tensor([[[0.6, 0, 0.8], [0.6, 0, -0.8]]], dtype=dtype)
    color = torch.tensor([[0.5, 1.0, 0.0]], dtype=dtype)
    out = lambert(normal, to_light, color, backend=backend)
    expected = torch.tensor([[[0.4, 0.8, 0], [0, 0, 0]]], dtype=dtype) / math.pi
    torch.testing.assert_close(out, expected)


@every_backend
@pytest.mark.parametrize("which", range(3), ids=LAMBERT_INPUTS)
def test_a_nan_stays_one(backend: str, which: int) -> None:
    work = [part.clone() for part in lambert_problem(n_points=8, n_lights=1)]
    work[1] = work[0][:, None].clone()  # light from straight above, so that nothing is zero anyway
    work[which][3] = torch.nan
    out = lambert(*work, backend=backend)
    assert bool(out[3].isnan().all())
    assert_all_finite((out[:3], out[4:]))
