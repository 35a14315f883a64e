from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from support.op_arguments import value_and_gradients
from support.op_problems import GGX_INPUTS, ggx_problem, ggx_table
from support.triangle_soups import (
    assert_all_finite,
    both_dtypes,
    every_backend,
)
from torch import Tensor

from diffrender.ops.ggx import ggx

Work = tuple[Tensor, ...]
F64 = torch.float64


def with_gradients(work: Sequence[Tensor], backend: str) -> Work:
    """The values, and the gradients of a fixed sum of them with respect to all inputs but the table."""
    arguments = dict(zip((*GGX_INPUTS, "diffuse_table"), work, strict=True))
    out, grads = value_and_gradients(ggx, arguments, GGX_INPUTS, backend)
    return (out.detach(), *grads)


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Camera and light 60 degrees apart, the normal half-way: h = n, v.h = n.l = n.v = cos 30; roughness 1: D = 1 / pi,
    # V = 1 / (4 cos 30). A table of T = 1 / 2.
    side, up = 0.5, math.sqrt(0.75)
    normal, to_camera = torch.tensor([[0.0, 0, 1]], dtype=dtype), torch.tensor([[side, 0, up]], dtype=dtype)
    to_light = torch.tensor([[[-side, 0, up], [-side, 0, -up]]], dtype=dtype)
    color = torch.tensor([[0.2, 0.5, 1.0]], dtype=dtype)
    half, one = torch.tensor([[0.25]], dtype=dtype), torch.ones(1, 1, dtype=dtype)
    flat = torch.full((2, 2, 1), 0.5, dtype=dtype)
    out = ggx(normal, to_camera, to_light, color, half, one, flat, backend=backend)
    f0 = 0.04 + 0.25 * (color[0] - 0.04)
    fresnel = f0 + (1 - f0) * (1 - up) ** 5
    expected = (fresnel / (math.pi * 4 * up) + color[0] * 0.75 / math.pi / 4) * up
    torch.testing.assert_close(out[0, 0], expected)
    assert not bool(out[0, 1].any())  # from behind


def test_smooth_surfaces_at_grazing_angles_match_the_reference() -> None:
    """Highlights of the least roughness, seen and lit from the side: where digits are lost first."""
    normal = torch.tensor([[0.0, 0, 1]], dtype=F64).repeat(60, 1)
    angle = torch.linspace(1.2, 1.5706, 60, dtype=F64)
    to_camera = torch.stack([angle.sin(), torch.zeros_like(angle), angle.cos()], 1)
    tilt = torch.tensor([[-1.0, 0.003, 1]], dtype=F64)
    to_light = torch.nn.functional.normalize(to_camera * tilt, dim=1)[:, None]
    one = torch.ones(60, 1, dtype=F64)
    work = (normal, to_camera, to_light, 0.5 * one.expand(60, 3), 0.3 * one, 0.045 * one, ggx_table(F64))
    found, expected = with_gradients(work, "numba"), with_gradients(work, "reference")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = with_gradients(tuple(part.float() for part in work), "numba")
    assert_all_finite(single)
    # What float32 directions alone do to such a highlight.
    exact = with_gradients(tuple(part.float().double() for part in work), "reference")
    torch.testing.assert_close(single[0].double(), exact[0], rtol=1e-6, atol=1e-6)


@every_backend
def test_roughness_and_cosines_are_held_where_they_end(backend: str) -> None:
    work = list(ggx_problem(n_points=60, n_lights=1))
    work[5] = torch.tensor([[-0.1], [0.02], [1.2]], dtype=F64).repeat(20, 1)
    found = with_gradients(work, backend)
    assert not bool(found[6].any())
    work[5] = work[5].clamp(0.045, 1)
    torch.testing.assert_close(found[0], with_gradients(work, backend)[0])
    # Cameras behind the surface: seen as from the side.
    work[1] = -work[0]
    out = ggx(*work, backend=backend)  # type: ignore[arg-type]
    assert_all_finite((out,))


@every_backend
@pytest.mark.parametrize("which", range(6), ids=GGX_INPUTS)
def test_a_nan_stays_one(backend: str, which: int) -> None:
    work = [part.clone() for part in ggx_problem(n_points=8, n_lights=1)]
    work[2] = work[0][:, None].clone()  # light from straight above, so that nothing is zero anyway
    work[which][3] = torch.nan
    out = ggx(*work, backend=backend)  # type: ignore[arg-type]
    assert bool(out[3].isnan().all())
    assert_all_finite((out[:3], out[4:]))
