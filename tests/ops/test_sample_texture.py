from __future__ import annotations

import math

import pytest
import torch
from support.op_problems import texture_problem as problem
from support.triangle_soups import (
    assert_all_finite,
    both_dtypes,
    every_backend,
)
from torch import Tensor

from diffrender.ops.mip_pyramid import mip_pyramid
from diffrender.ops.sample_texture import WRAPS, sample_texture

both_wraps = pytest.mark.parametrize("wrap", WRAPS)
Work = tuple[Tensor, Tensor, Tensor | None]


def sampled(work: Work, wrap: str, backend: str) -> Tensor:
    texels, uv, footprint = work
    return sample_texture(mip_pyramid(texels, backend=backend), uv, footprint, wrap, backend=backend)


def with_gradients(work: Work, wrap: str, backend: str) -> tuple[Tensor, ...]:
    """The values, and the gradients of a fixed sum of them with respect to all floats."""
    leaves = [part.detach().clone().requires_grad_() for part in work if part is not None]
    out = sampled((*leaves, None)[:3], wrap, backend)  # type: ignore[arg-type]
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), leaves))


def at(texels: Tensor, u: float, v: float, footprint: float | None, wrap: str, backend: str) -> list[float]:
    uv = torch.tensor([[u, v]], dtype=texels.dtype)
    width = None if footprint is None else torch.tensor([footprint], dtype=texels.dtype)
    return sampled((texels, uv, width), wrap, backend)[0].tolist()


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Texel (row i, column j) holds (i, j) and has its centre at ((j + .5) / 4, (i + .5) / 2).
    rows, columns = torch.meshgrid(torch.arange(2), torch.arange(4), indexing="ij")
    texels = torch.stack([rows, columns], -1).to(dtype)
    for wrap in WRAPS:
        for i in range(2):
            for j in range(4):
                assert at(texels, (j + 0.5) / 4, (i + 0.5) / 2, None, wrap, backend) == [i, j]
        assert at(texels, 0.3125, 0.375, None, wrap, backend) == [0.25, 0.75]
        # Two texels wide: level 1, which is [[.5, .5], [.5, 2.5]]; its centres are at u = 1/4 and 3/4.
        assert at(texels, 0.25, 0.1, 2.0, wrap, backend) == pytest.approx([0.5, 0.5])
        assert at(texels, 0.5, 0.9, 2.0, wrap, backend) == pytest.approx([0.5, 1.5])
        # Half way between the levels 0, where it is [0, 1], and 1.
        assert at(texels, 0.375, 0.25, math.sqrt(2), wrap, backend) == pytest.approx([0.25, 0.5 + 0.5 * 1.0])
        assert at(texels, 0.3, 0.8, 1e6, wrap, backend) == pytest.approx([0.5, 1.5])  # the mean of all
    assert at(texels, 0.0, 0.25, None, "repeat", backend) == [0.0, 1.5]  # between the last column and the first
    assert at(texels, 0.0, 0.25, None, "clamp", backend) == [0.0, 0.0]
    assert at(texels, 1.5, -3.0, None, "clamp", backend) == [0.0, 3.0]
    assert at(texels, -0.875, 2.25, None, "repeat", backend) == [0.0, 0.0]


@every_backend
def test_gradients_of_the_worked_example(backend: str) -> None:
    texels = torch.tensor([[1.0, 2.0], [4.0, 8.0]], dtype=torch.float64)[:, :, None].requires_grad_()
    uv = torch.tensor([[0.375, 0.5]], dtype=torch.float64, requires_grad=True)  # a quarter to the right, half down
    width = torch.tensor([math.sqrt(2)], dtype=torch.float64, requires_grad=True)  # half way to the mean, 3.75
    out = sampled((texels, uv, width), "clamp", backend)
    assert float(out.detach()) == pytest.approx(0.5 * (0.375 * 5 + 0.125 * 10) + 0.5 * 3.75)
    grads = torch.autograd.grad(out.sum(), (texels, uv, width))
    weights = [[0.1875, 0.0625], [0.1875, 0.0625]]
    assert grads[0][:, :, 0].tolist() == [[pytest.approx(w + 0.125) for w in row] for row in weights]
    # Half of: two texels a unit of uv, times the differences between columns (1 and 4) and rows (3 and 6).
    assert grads[1][0].tolist() == pytest.approx([0.5 * 2 * 2.5, 0.5 * 2 * (3 * 0.75 + 6 * 0.25)])
    assert grads[2].tolist() == pytest.approx([(3.75 - 3.125) / (math.log(2) * math.sqrt(2))])


@every_backend
def test_the_width_of_derivatives_is_half_their_norm(backend: str) -> None:
    texels, uv, width = problem("width", size=(16, 32))
    assert width is not None
    expected = sampled((texels, uv, width), "repeat", backend)
    to_uv = torch.tensor([1 / 32, 1 / 16], dtype=torch.float64)
    for longest in (math.sqrt(2), 1.7, 1.99):
        shortest = math.sqrt(4 - longest**2)
        for turn, roll in ((0.0, 0.0), (0.7, 0.0), (-1.1, 2.0)):
            rotations = [torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) for a in (turn, roll)]
            jacobian = (rotations[0] @ torch.diag(torch.tensor([longest, shortest])) @ rotations[1]).double()
            derivatives = to_uv[:, None] * jacobian * width[:, None, None]
            found = sampled((texels, uv, derivatives), "repeat", backend)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)  # the rotations are float32


@every_backend
@both_dtypes
def test_repeats_or_goes_on_with_the_border(backend: str, dtype: torch.dtype) -> None:
    texels, uv, width = problem("width", dtype, size=(5, 7))
    for shift in ([1.0, 0.0], [0.0, -2.0], [-3.0, 5.0]):
        moved = sampled((texels, uv + uv.new_tensor(shift), width), "repeat", backend)
        torch.testing.assert_close(moved, sampled((texels, uv, width), "repeat", backend), atol=2e-5, rtol=0)
    held = sampled((texels, uv.clamp(0, 1), width), "clamp", backend)
    assert torch.equal(sampled((texels, uv, width), "clamp", backend), held)


@both_wraps
@every_backend
def test_weights_sum_to_one_and_values_stay_in_range(backend: str, wrap: str) -> None:
    texels, uv, width = problem("width", torch.float32, size=(6, 11))
    flat = sampled((torch.full_like(texels, 0.7), uv, width), wrap, backend)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.7))
    values = sampled((texels, uv, width), wrap, backend)
    assert texels.min() <= values.min() and values.max() <= texels.max()
    grad = with_gradients((texels, uv, width), wrap, backend)[1]
    weight = torch.linspace(-1, 2, values.numel()).cos()
    assert float(grad.sum()) == pytest.approx(float(weight.sum()), rel=1e-4)  # each sample gives away all of its own


@every_backend
def test_continuous_across_texels_levels_and_the_border(backend: str) -> None:
    texels, uv, width = problem("width", n=200, size=(8, 12))
    assert width is not None
    uv[:40, 0], uv[40:80, 1] = (uv[:40, 0] * 12).floor() / 12, 0.0
    width[80:160] = 2 ** width[80:160].log2().round()
    step = 1e-7
    for wrap in WRAPS:
        below = sampled((texels, uv - step, width * (1 - step)), wrap, backend)
        above = sampled((texels, uv + step, width * (1 + step)), wrap, backend)
        assert float((above - below).abs().max()) < 100 * step


@every_backend
def test_a_ramp_is_the_same_at_every_level(backend: str) -> None:
    """Sampled away from the border, an image that is linear in uv gives uv, whatever the footprint."""
    height, width = 64, 96
    v = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    u = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    texels = torch.stack([u.expand(height, width), v[:, None].expand(height, width)], -1)
    uv = 0.25 + 0.5 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    widths = 2 ** torch.linspace(-1, 4, 300, dtype=torch.float64)
    torch.testing.assert_close(sampled((texels, uv, widths), "clamp", backend), uv)


@every_backend
def test_a_footprint_without_levels_changes_nothing(backend: str) -> None:
    texels, uv, width = problem("width")
    one_level = mip_pyramid(texels, 1)
    plain = sample_texture(one_level, uv, backend=backend)
    assert torch.equal(sample_texture(one_level, uv, width, backend=backend), plain)
    small = torch.full_like(uv[:, 0], 1.0)
    torch.testing.assert_close(sampled((texels, uv, small), "repeat", backend), plain)


@both_wraps
@every_backend
def test_places_far_away_are_finite_and_no_places_are_nan(backend: str, wrap: str) -> None:
    texels, uv, width = problem("width", torch.float32)
    assert width is not None
    for size in (1e6, 1e20, 1e38):
        assert_all_finite(with_gradients((texels, uv * size, width), wrap, backend))
        assert_all_finite(with_gradients((texels, uv, width * min(size, 1e30)), wrap, backend))
    assert_all_finite(with_gradients((texels, uv, width * 0), wrap, backend))
    uv[3, 0], uv[5, 1] = math.nan, math.nan
    bad = sampled((texels, uv, width), wrap, backend).isnan().all(1)
    assert torch.nonzero(bad)[:, 0].tolist() == [3, 5]


@every_backend
@pytest.mark.parametrize("size", [(), (2, 2)])
def test_no_samples_have_no_tangents(backend: str, size: tuple[int, ...]) -> None:
    pyramid = mip_pyramid(torch.rand(4, 4, 3))
    uv, footprint = torch.zeros(0, 2), torch.zeros(0, *size)
    found = torch.func.jvp(
        lambda *where: sample_texture(pyramid, *where, backend=backend), (uv, footprint), (uv, footprint)
    )
    assert found[1].shape == (0, 3)
