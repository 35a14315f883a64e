import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrender.errors import ShapeError
from diffrender.imaging.filters import downsample_by_two, gaussian_blur, pyramid, resize_area

DOUBLE = torch.float64


def random_images(n, h, w, c, seed=0):
    return torch.rand(n, h, w, c, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def test_downsample_by_two_by_hand_with_odd_sizes():
    image = torch.tensor([[1.0, 3, 5], [5, 7, 9], [2, 4, 8]]).reshape(1, 3, 3, 1)
    expected = torch.tensor([[4.0, 7], [3, 8]]).reshape(1, 2, 2, 1)
    torch.testing.assert_close(downsample_by_two(image), expected)


def test_downsample_by_two_equals_resize_area_for_even_sizes():
    images = random_images(2, 6, 10, 3)
    torch.testing.assert_close(downsample_by_two(images), resize_area(images, 3, 5))


def test_pyramid_starts_with_the_image_and_ends_at_one_pixel():
    images = random_images(2, 12, 20, 3)
    levels = pyramid(images, 3)
    assert levels[0] is images
    assert [tuple(level.shape[1:3]) for level in levels] == [(12, 20), (6, 10), (3, 5)]
    assert [tuple(level.shape[1:3]) for level in pyramid(images, 99)][-2:] == [(1, 2), (1, 1)]
    assert len(pyramid(images, 1)) == 1


def test_resize_area_by_hand_at_a_fractional_ratio():
    image = torch.tensor([[0.0, 3, 6]]).reshape(1, 1, 3, 1)
    # Three pixels become two, which cover one and a half each.
    torch.testing.assert_close(resize_area(image, 1, 2).flatten(), torch.tensor([1.0, 5.0]))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 17), st.integers(1, 17), st.data())
def test_resize_area_equals_block_means_of_a_finely_repeated_image(height, width, data):
    new_height, new_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    images = random_images(2, height, width, 2, height * 20 + width)
    # With pixels repeated until both grids fit, the box filter is a plain mean over blocks.
    fine = images.repeat_interleave(new_height, 1).repeat_interleave(new_width, 2)
    blocks = fine.reshape(2, new_height, height, new_width, width, 2).mean((2, 4))
    result = resize_area(images, new_height, new_width)
    torch.testing.assert_close(result, blocks)
    torch.testing.assert_close(result.mean((1, 2)), images.mean((1, 2)))


def test_gaussian_blur_spreads_a_point_by_sigma_and_keeps_its_sum():
    image = torch.zeros(1, 61, 61, 1, dtype=DOUBLE)
    image[0, 30, 30] = 1
    blurred = gaussian_blur(image, 2.5)[0, :, :, 0]
    offset = torch.arange(61, dtype=DOUBLE) - 30
    torch.testing.assert_close(blurred.sum(), torch.tensor(1.0, dtype=DOUBLE))
    for marginal in (blurred.sum(0), blurred.sum(1)):
        assert float((marginal * offset).sum()) == pytest.approx(0, abs=1e-12)
        assert math.sqrt((marginal * offset**2).sum()) == pytest.approx(2.5, rel=5e-3)
    ratio = blurred[30, 35] / blurred[30, 30]
    assert float(ratio) == pytest.approx(math.exp(-0.5 * (5 / 2.5) ** 2))


def test_gaussian_blur_preserves_constants_up_to_the_border_and_does_nothing_for_sigma_zero():
    constant = torch.full((1, 4, 7, 2), 0.3, dtype=DOUBLE)
    torch.testing.assert_close(gaussian_blur(constant, 3.0), constant)
    images = random_images(1, 5, 5, 1)
    assert gaussian_blur(images, 0) is images


def test_gradients_match_finite_differences():
    images = random_images(1, 5, 4, 2).requires_grad_()
    for function in (
        downsample_by_two,
        lambda x: resize_area(x, 3, 3),
        lambda x: gaussian_blur(x, 0.8),
    ):
        assert torch.autograd.gradcheck(function, (images,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: resize_area(x, 9, 4), "the new size must be at most 8 x 8, got 9 x 4"),
        (lambda x: resize_area(x, 0, 4), "at least 1, got 0 x 4"),
        (lambda x: downsample_by_two(x[0]), r"images must have shape \[N, H, W, C\], got \[8, 8, 3\]"),
        (lambda x: downsample_by_two(x[:, :0]), "at least one pixel"),
        (lambda x: downsample_by_two(x.byte()), "float"),
        (lambda x: pyramid(x, 0), "levels must be at least 1"),
        (lambda x: gaussian_blur(x, -1.0), "sigma_px must be at least 0"),
        (lambda x: gaussian_blur(x, math.nan), "sigma_px must be at least 0"),
    ],
)
def test_invalid_arguments_are_named(call, message):
    with pytest.raises(ShapeError, match=message):
        call(torch.zeros(1, 8, 8, 3))
