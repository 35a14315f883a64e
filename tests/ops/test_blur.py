from __future__ import annotations

import math

import pytest
import torch
from scipy.ndimage import gaussian_filter
from support.triangle_soups import (
    assert_same_bits,
    both_dtypes,
    every_backend,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.blur import blur, blur_channels

DOUBLE = torch.float64


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def with_gradient(images: Tensor, sigma_px: float, backend: str, upstream: Tensor | None = None) -> tuple[Tensor, ...]:
    """The blurred images, and the gradient of their sum weighted with `upstream`."""
    leaf = images.detach().clone().requires_grad_()
    blurred = blur(leaf, sigma_px, backend=backend)
    weight = noise(*images.shape, dtype=images.dtype, seed=1) if upstream is None else upstream
    return blurred.detach(), *torch.autograd.grad(blurred, leaf, weight)


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # sigma = 1/2 reaches two pixels; the weights are e^(-2 k^2), made to sum to one.
    total = 1 + 2 * math.exp(-2) + 2 * math.exp(-8)
    w0, w1, w2 = 1 / total, math.exp(-2) / total, math.exp(-8) / total
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6

    point = torch.zeros(1, 5, 7, 2, dtype=dtype)
    point[0, 2, 3, 1] = 10
    blurred = blur(point, 0.5, backend=backend)
    assert blurred.dtype == dtype and not bool(blurred[..., 0].any())
    assert blurred[0, 2, :, 1].tolist() == pytest.approx([0, 10 * w0 * w2, 10 * w0 * w1, 10 * w0 * w0,
                                                          10 * w0 * w1, 10 * w0 * w2, 0], rel=tolerance)  # fmt: skip
    assert blurred[0, :, 2, 1].tolist() == pytest.approx([10 * w1 * w for w in (w2, w1, w0, w1, w2)], rel=tolerance)

    # A row of two pixels goes on as 6 6 | 6 0 | 0 0, its only row as itself.
    pair = blur(torch.tensor([[[[6.0], [0.0]]]], dtype=dtype), 0.5, backend=backend)
    assert pair.flatten().tolist() == pytest.approx([6 * (w0 + w1 + w2), 6 * (w1 + w2)], rel=tolerance)


@every_backend
@both_dtypes
def test_worked_example_of_the_gradient(backend: str, dtype: torch.dtype) -> None:
    # Pixel 0 of two is in its own mean by w0 + w1 + w2 and in the other's by w1 + w2.
    total = 1 + 2 * math.exp(-2) + 2 * math.exp(-8)
    far = (math.exp(-2) + math.exp(-8)) / total
    pair, upstream = torch.zeros(1, 1, 2, 1, dtype=dtype), torch.tensor([10.0, 1.0], dtype=dtype).reshape(1, 1, 2, 1)
    _, grad = with_gradient(pair, 0.5, backend, upstream)
    assert grad.flatten().tolist() == pytest.approx([10 * (1 - far) + far, 10 * far + 1 - far], rel=1e-6)


@every_backend
@pytest.mark.parametrize("sigma_px", [0.7, 3.0, 30.0])
def test_is_the_gaussian_filter_of_scipy(backend: str, sigma_px: float) -> None:
    images = noise(1, 17, 23, 1)
    reach = math.ceil(4 * sigma_px)
    expected = gaussian_filter(images[0, ..., 0].numpy(), sigma_px, mode="nearest", radius=reach)
    torch.testing.assert_close(blur(images, sigma_px, backend=backend)[0, ..., 0], torch.from_numpy(expected))


@every_backend
@both_dtypes
@pytest.mark.parametrize("sigma_px", [0.5, 2.0, 50.0])
def test_the_backward_pass_is_the_transposed_forward_pass(backend: str, dtype: torch.dtype, sigma_px: float) -> None:
    """<blur x, y> = <x, blur^T y> for all x and y; the border makes blur^T another thing than blur."""
    # Several of Numba's bands; Triton has none, and its interpreter takes long.
    shape = (2, 13, 70 if backend == "triton" else 600, 1)
    x, y = noise(*shape, dtype=dtype), noise(*shape, dtype=dtype, seed=3)
    blurred, transposed = with_gradient(x, sigma_px, backend, y)
    scale = float(x.double().norm() * y.double().norm())
    difference = float((blurred.double() * y).sum() - (x.double() * transposed).sum())
    assert abs(difference) <= (1e-14 if dtype == torch.float64 else 1e-6) * scale
    assert float((transposed - blur(y, sigma_px, backend=backend)).abs().max()) > 1e-4


@every_backend
@both_dtypes
@pytest.mark.parametrize("sigma_px", [0.5, 3.0, 100.0])
def test_even_images_stay_and_every_pixel_hands_on_its_weight_once(
    backend: str, dtype: torch.dtype, sigma_px: float
) -> None:
    even = torch.tensor([0.25, 3, -1], dtype=dtype).expand(2, 6, 11, 3)
    blurred, grad = with_gradient(even, sigma_px, backend, torch.ones_like(even))
    torch.testing.assert_close(blurred, even, rtol=1e-5, atol=0)
    assert float(grad.double().sum()) == pytest.approx(even.numel(), rel=1e-5)


@every_backend
def test_channels_and_views_do_not_mix(backend: str) -> None:
    images = noise(3, 9, 40, 4, dtype=torch.float32)
    together = with_gradient(images, 2.0, backend, images)
    for n in range(3):
        assert_same_bits(tuple(part[n : n + 1] for part in together), with_gradient(images[n : n + 1], 2.0, backend,
                                                                                   images[n : n + 1]))  # fmt: skip
    for c in range(4):
        alone = blur(images[..., c : c + 1].contiguous(), 2.0, backend=backend)
        assert_same_bits(together[0][..., c : c + 1].contiguous(), alone)


@every_backend
def test_mirrored_images_blur_to_mirrored_images(backend: str) -> None:
    images = noise(1, 12, 15, 2)
    expected = blur(images, 1.7, backend=backend)
    for axes in ((1,), (2,), (1, 2)):
        torch.testing.assert_close(blur(images.flip(axes), 1.7, backend=backend), expected.flip(axes))
    turned = blur(images.transpose(1, 2), 1.7, backend=backend).transpose(1, 2)
    torch.testing.assert_close(turned, expected)


@every_backend
@both_dtypes
def test_one_pixel_and_a_sigma_larger_than_the_image(backend: str, dtype: torch.dtype) -> None:
    one = torch.tensor([[[[3.0, -2.0]]]], dtype=dtype)
    blurred, grad = with_gradient(one, 5.0, backend, 7 * torch.ones_like(one))
    torch.testing.assert_close(blurred, one)
    torch.testing.assert_close(grad, 7 * torch.ones_like(one))
    # So wide a blur sees next to nothing but the border: half of it left, half of it right.
    row = torch.tensor([4.0, 100.0, 0.0], dtype=dtype).reshape(1, 1, 3, 1)
    wide = blur(row, 1000.0, backend=backend)
    torch.testing.assert_close(wide, torch.full_like(row, 2.0), atol=0.1, rtol=0)


@every_backend
def test_a_sigma_of_zero_and_empty_images_are_given_back(backend: str) -> None:
    images = noise(1, 3, 4, 2).requires_grad_()
    assert blur(images, 0.0, backend=backend) is images
    for shape in ((0, 3, 4, 2), (1, 0, 4, 2), (1, 3, 0, 2), (1, 3, 4, 0)):
        assert blur(torch.zeros(shape), 2.0, backend=backend).shape == shape


@every_backend
@both_dtypes
@pytest.mark.parametrize("sigma_px", [0.25, 0.8, 2.9])
def test_derivative_of_sigma_is_that_of_differences(backend: str, dtype: torch.dtype, sigma_px: float) -> None:
    images, upstream = noise(2, 9, 11, 3, dtype=dtype), noise(2, 9, 11, 3, dtype=dtype, seed=1)
    sigma = torch.tensor(sigma_px, dtype=dtype, requires_grad=True)
    (found,) = torch.autograd.grad((blur(images, sigma, backend=backend) * upstream).sum(), sigma)
    assert found.dtype == dtype and found.shape == ()
    h = 1e-5  # both ends of the difference are cut at the same pixel
    ends = [(blur(images.double(), sigma_px + s * h, backend="reference") * upstream).sum() for s in (-1, 1)]
    assert float(found) == pytest.approx(float((ends[1] - ends[0]) / (2 * h)), rel=1e-6 if dtype is DOUBLE else 1e-4)


@every_backend
def test_a_gaussian_narrower_than_pixels_has_no_derivative_of_sigma(backend: str) -> None:
    sigma = torch.tensor(0.01, requires_grad=True)
    images = noise(1, 4, 5, 2, dtype=torch.float32)
    blurred = blur(images, sigma, backend=backend)
    assert torch.equal(blurred.detach(), images)
    assert torch.autograd.grad(blurred.sum(), sigma)[0].item() == 0


def test_of_images_and_sigma_only_what_is_wanted_has_a_gradient() -> None:
    images, sigma = noise(1, 4, 5, 2), torch.tensor(0.7, dtype=DOUBLE)
    assert not blur(images, sigma).requires_grad
    assert torch.autograd.grad(blur(images.requires_grad_(), sigma).sum(), images)[0].shape == images.shape
    with pytest.raises(ShapeError, match=r"sigma_px must be at least 0, got -0\.7"):
        blur(images, -sigma)


@every_backend
@both_dtypes
@pytest.mark.parametrize("size", [(2, 9, 11), (1, 3, 2), (1, 40, 300)])
def test_channels_are_blurred_as_images_of_their_own(backend: str, dtype: torch.dtype, size: tuple[int, ...]) -> None:
    images, upstream = noise(*size, 5, dtype=dtype), noise(*size, 5, dtype=dtype, seed=1)
    some, where = slice(1, 4), noise(*size, seed=2) > 0.3
    where[:, 1:-8:14, :200] = where[:, 8:30, 150:] = False  # rows, and parts of rows, where no pixel counts
    found, wanted = [], []
    for results, of_channels in ((found, True), (wanted, False)):
        leaf, sigma = images.clone().requires_grad_(), torch.tensor(1.3, dtype=dtype, requires_grad=True)
        if of_channels:
            blurred = blur_channels(leaf, sigma, some, where, backend=backend)
        else:
            own = leaf[..., some].contiguous()
            known = blur(own, 1.3, backend=backend)
            change = torch.where(where[..., None], blur(own, sigma, backend=backend), known)
            blurred = torch.cat([leaf[..., :1], change, leaf[..., 4:]], -1)
        results += [blurred.detach(), *torch.autograd.grad(blurred, (leaf, sigma), upstream)]
    for first, second in zip(found, wanted, strict=True):
        torch.testing.assert_close(first, second)
    still = images.clone().requires_grad_()
    torch.testing.assert_close(blur_channels(still, 1.3, some, backend=backend).detach(), wanted[0])
    assert blur_channels(images, 0.0, some, backend=backend) is images
    for channels in (slice(None, 3), slice(2, None)):
        torch.testing.assert_close(
            blur_channels(images, 1.3, channels, backend=backend)[..., channels],
            blur(images[..., channels].contiguous(), 1.3, backend=backend),
        )
    with pytest.raises(ShapeError, match="where"):
        blur_channels(images, 1.3, some, where[0], backend=backend)


@every_backend
def test_tangents_of_channels_are_the_transpose_of_their_gradients(backend: str) -> None:
    images, upstream, along = (noise(1, 7, 8, 4, seed=seed) for seed in range(3))
    where, sigma, step = noise(1, 7, 8, seed=3) > 0, torch.tensor(0.8, dtype=DOUBLE), torch.tensor(0.4, dtype=DOUBLE)

    def blurred(images: Tensor, sigma_px: Tensor) -> Tensor:
        return blur_channels(images, sigma_px, slice(0, 3), where, backend=backend)

    _, forward = torch.func.jvp(blurred, (images, sigma), (along, step))
    _, transposed = torch.func.vjp(blurred, images, sigma)
    of_images, of_sigma = (part.detach() for part in transposed(upstream))
    assert float((forward * upstream).sum()) == pytest.approx(float((of_images * along).sum() + of_sigma * step))
    many = torch.func.vmap(lambda tangent: torch.func.jvp(blurred, (images, sigma), (along, tangent))[1])
    torch.testing.assert_close(many(torch.stack([step, 2 * step]))[0], forward)


def test_channels_have_no_second_derivative() -> None:
    images, sigma = noise(1, 5, 6, 4).requires_grad_(), torch.tensor(0.8, dtype=DOUBLE, requires_grad=True)
    blurred = blur_channels(images, sigma, slice(0, 3))
    (slope,) = torch.autograd.grad(blurred.square().sum(), sigma, create_graph=True)
    with pytest.raises(BackendError, match="no second derivative"):
        torch.autograd.grad(slope, images)


def test_a_blur_much_wider_than_the_image_takes_no_longer_for_that() -> None:
    images = noise(1, 8, 8, 4).requires_grad_()
    (found,) = torch.autograd.grad(blur(images, 20_000.0)[0, 3, 4, 1], images)
    # Nothing but the borders is seen, half of each side.
    assert float(found[0, [0, 0, -1, -1], [0, -1, 0, -1], 1].sum()) == pytest.approx(1, abs=1e-3)
