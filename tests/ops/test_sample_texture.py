from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.triangle_soups import (
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    strided,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.mip_pyramid import MipPyramid, mip_pyramid
from diffrender.ops.sample_texture import WRAPS, sample_texture

both_wraps = pytest.mark.parametrize("wrap", WRAPS)
every_footprint = pytest.mark.parametrize("kind", ("none", "width", "derivatives"))
Work = tuple[Tensor, Tensor, Tensor | None]


def problem(
    kind: str, dtype: torch.dtype = torch.float64, n: int = 400, size: tuple[int, int] = (13, 20), channels: int = 3
) -> Work:
    """(texels, uv, footprint) with uv in -1.5..2.5, and footprints from a third of a texel to twice the image."""
    generator = torch.Generator().manual_seed(n)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    texels, uv = uniform(*size, channels), 4 * uniform(n, 2) - 1.5
    width = 2 ** (uniform(n) * 7 - 1.5)
    if kind == "none":
        return texels.to(dtype), uv.to(dtype), None
    if kind == "width":
        return texels.to(dtype), uv.to(dtype), width.to(dtype)
    direction = torch.randn(n, 2, 2, generator=generator, dtype=torch.float64)
    derivatives = direction * width[:, None, None] / torch.tensor([[size[1]], [size[0]]])
    return texels.to(dtype), uv.to(dtype), derivatives.to(dtype)


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


@both_backends
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


@both_backends
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


@every_footprint
@both_wraps
@both_dtypes
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, wrap: str, kind: str) -> None:
    for size, channels in (((13, 20), 3), ((16, 8), 1), ((1, 6), 4), ((5, 1), 2)):
        work = problem(kind, dtype, size=size, channels=channels)
        found, expected = with_gradients(work, wrap, "numba"), with_gradients(work, wrap, "reference")
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
        for actual, wanted in zip(found[1:], expected[1:], strict=True):
            assert_gradients_agree(actual, wanted)


@every_footprint
@both_wraps
@both_backends
def test_gradients_are_the_derivatives(backend: str, wrap: str, kind: str) -> None:
    leaves = [part.requires_grad_() for part in problem(kind, n=12, size=(6, 5), channels=2) if part is not None]
    assert torch.autograd.gradcheck(lambda *leaves: sampled((*leaves, None)[:3], wrap, backend), leaves)


@both_backends
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


@both_backends
@both_dtypes
def test_repeats_or_goes_on_with_the_border(backend: str, dtype: torch.dtype) -> None:
    texels, uv, width = problem("width", dtype, size=(5, 7))
    for shift in ([1.0, 0.0], [0.0, -2.0], [-3.0, 5.0]):
        moved = sampled((texels, uv + uv.new_tensor(shift), width), "repeat", backend)
        torch.testing.assert_close(moved, sampled((texels, uv, width), "repeat", backend), atol=2e-5, rtol=0)
    held = sampled((texels, uv.clamp(0, 1), width), "clamp", backend)
    assert torch.equal(sampled((texels, uv, width), "clamp", backend), held)


@both_wraps
@both_backends
def test_weights_sum_to_one_and_values_stay_in_range(backend: str, wrap: str) -> None:
    texels, uv, width = problem("width", torch.float32, size=(6, 11))
    flat = sampled((torch.full_like(texels, 0.7), uv, width), wrap, backend)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.7))
    values = sampled((texels, uv, width), wrap, backend)
    assert texels.min() <= values.min() and values.max() <= texels.max()
    grad = with_gradients((texels, uv, width), wrap, backend)[1]
    weight = torch.linspace(-1, 2, values.numel()).cos()
    assert float(grad.sum()) == pytest.approx(float(weight.sum()), rel=1e-4)  # each sample gives away all of its own


@both_backends
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


@both_backends
def test_a_ramp_is_the_same_at_every_level(backend: str) -> None:
    """Sampled away from the border, an image that is linear in uv gives uv, whatever the footprint."""
    height, width = 64, 96
    v = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    u = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    texels = torch.stack([u.expand(height, width), v[:, None].expand(height, width)], -1)
    uv = 0.25 + 0.5 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    widths = 2 ** torch.linspace(-1, 4, 300, dtype=torch.float64)
    torch.testing.assert_close(sampled((texels, uv, widths), "clamp", backend), uv)


@both_backends
def test_a_footprint_without_levels_changes_nothing(backend: str) -> None:
    texels, uv, width = problem("width")
    one_level = mip_pyramid(texels, 1)
    plain = sample_texture(one_level, uv, backend=backend)
    assert torch.equal(sample_texture(one_level, uv, width, backend=backend), plain)
    small = torch.full_like(uv[:, 0], 1.0)
    torch.testing.assert_close(sampled((texels, uv, small), "repeat", backend), plain)


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem("derivatives", torch.float32, n=40_000)
    assert_same_for_any_threads(lambda: with_gradients(work, "repeat", "numba"))


@every_footprint
@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, kind: str, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem(kind, dtype)
    expected = with_gradients(work, "repeat", backend)
    with poisoned_memory():
        found = with_gradients(work, "repeat", backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    texels, uv, derivatives = problem("derivatives")
    assert derivatives is not None
    wide = (strided(texels), strided(uv), strided(derivatives))
    expected = sampled((texels, uv, derivatives), "repeat", backend)
    assert_same_bits(sampled(wide, "repeat", backend), expected)
    leaf = uv.clone().requires_grad_()
    (grad,) = torch.autograd.grad(sampled((texels, leaf, derivatives), "repeat", backend).sum(), leaf)  # expanded
    (wanted,) = torch.autograd.grad(sampled((texels, leaf, derivatives), "repeat", "reference").sum(), leaf)
    torch.testing.assert_close(grad, wanted)


@every_footprint
@both_backends
def test_no_samples_and_no_channels(backend: str, kind: str) -> None:
    texels, uv, footprint = problem(kind)
    none = with_gradients((texels, uv[:0], None if footprint is None else footprint[:0]), "repeat", backend)
    assert none[0].shape == (0, 3) and none[2].shape == (0, 2)
    assert none[1].shape == texels.shape and not bool(none[1].any())
    blank = with_gradients((texels[..., :0], uv, footprint), "repeat", backend)
    assert blank[0].shape == (400, 0) and not bool(blank[2].any())


@both_wraps
@both_backends
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


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    work = problem("width")
    for wanted in range(3):
        leaves = [part.clone().requires_grad_(i == wanted) for i, part in enumerate(work) if part is not None]
        sampled(tuple(leaves), "repeat", backend).sum().backward()  # type: ignore[arg-type]
        assert [leaf.grad is not None for leaf in leaves] == [i == wanted for i in range(3)]
    assert not sampled(work, "repeat", backend).requires_grad


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    texels, uv, width = problem("width")
    out = sampled((texels, uv.requires_grad_(), width), "repeat", "numba")
    (grad,) = torch.autograd.grad(out.square().sum(), uv, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    texels, uv, width = problem("width", torch.float32, n=5)
    pyramid = mip_pyramid(texels)
    cases = {
        r"pyramid.texels must have shape \[260, C\]": (MipPyramid(pyramid.texels, ((13, 20),)), uv, width),
        r"pyramid.texels must be float32 or float64": (MipPyramid(pyramid.texels.half(), pyramid.sizes), uv, width),
        r"uv must have shape \[M, 2\]": (pyramid, uv[0], width),
        r"footprint must have shape \[5\]": (pyramid, uv, uv[:4, 0]),
        r"footprint must have shape \[5, 2, 2\]": (pyramid, uv, uv),
        r"one dtype": (pyramid, uv.double(), width),
        r"one device": (pyramid, uv.to("meta"), width),
    }
    for message, arguments in cases.items():
        with pytest.raises(ShapeError, match=f"sample_texture: .*{message}"):
            sample_texture(*arguments, backend=backend)
    with pytest.raises(ShapeError, match="wrap must be one of repeat, clamp, got 'mirror'"):
        sample_texture(pyramid, uv, wrap="mirror", backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        sample_texture(MipPyramid(pyramid.texels.to("meta"), pyramid.sizes), uv.to("meta"), backend="numba")
