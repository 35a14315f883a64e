from __future__ import annotations

import torch
from support.triangle_soups import both_dtypes, every_backend

from diffrender.imaging.color import srgb_from_linear
from diffrender.ops.compare_colors import compare_colors


def one_pixel(*values: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype).reshape(1, 1, 1, -1)


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Channels are .1 above, equal, and .4 below.
    rgba, image = one_pixel(0.3, 0.5, 0.2, 1, dtype=dtype), one_pixel(0.2, 0.5, 0.6, dtype=dtype)
    for penalty, sum_of, slopes in (
        ("l1", 0.5, (1, 0, -1)), ("l2", 0.17, (0.2, 0, -0.8)), ("huber", 0.025 + 0.3, (0.5, 0, -1)),
        ("charbonnier", 0.05**0.5 + 0.2**0.5 - 0.4, (0.2**0.5, 0, -(0.8**0.5))),
    ):  # fmt: skip
        leaf = rgba.clone().requires_grad_()
        cost, squared = compare_colors(leaf, image, space="linear", penalty=penalty, delta=0.2, backend=backend)
        (grad,) = torch.autograd.grad(cost.sum(), leaf)
        torch.testing.assert_close(cost, torch.tensor([sum_of / 3], dtype=dtype))
        torch.testing.assert_close(squared, torch.tensor([0.17 / 3], dtype=dtype))
        torch.testing.assert_close(grad.flatten(), torch.tensor([*slopes, 0], dtype=dtype) / 3)


@every_backend
def test_more_light_than_a_clipped_value_agrees_with_it(backend: str) -> None:
    leaf = one_pixel(1.5, 0.9, 1.5, 1).requires_grad_()
    cost, _ = compare_colors(leaf, one_pixel(1, 1, 0.9), space="linear", clips=True, backend=backend)
    (grad,) = torch.autograd.grad(cost.sum(), leaf)
    torch.testing.assert_close(cost, cost.new_tensor([0.7 / 3]))
    torch.testing.assert_close(grad.flatten(), grad.new_tensor([0, -1, 1, 0]) / 3)


@every_backend
def test_an_added_background_shows_where_coverage_and_mask_leave_it_to(backend: str) -> None:
    leaf = one_pixel(0.5, 0.5, 0.5, 0.75).requires_grad_()
    added, mask = torch.tensor([[0.4, 0.0, 0.8]], dtype=torch.float64), torch.tensor([[[0.5]]], dtype=torch.float64)
    cost, squared = compare_colors(
        leaf, one_pixel(0.5, 0.5, 0.5), space="linear", added=added, masks=mask, backend=backend
    )
    (grad,) = torch.autograd.grad(cost.sum(), leaf)
    torch.testing.assert_close(cost, cost.new_tensor([(0.1 + 0.2) / 3]))
    torch.testing.assert_close(squared, cost.new_tensor([(0.01 + 0.04) / 3]))
    torch.testing.assert_close(grad.flatten(), grad.new_tensor([-1, 0, -1, 0.4 + 0.8]) / 3)


@every_backend
@both_dtypes
def test_means_are_over_what_counts(backend: str, dtype: torch.dtype) -> None:
    # The first view: .1 off at weight 1, .4 off at a quarter, no number at 0. Nothing of the second counts.
    rgba = torch.full((2, 1, 3, 4), 0.5, dtype=dtype).requires_grad_()
    images = torch.tensor([0.4, 0.9, torch.nan], dtype=dtype).expand(2, 1, 3)[..., None].expand(2, 1, 3, 3)
    weights = torch.tensor([[[1, 0.25, 0]], [[0, 0, 0]]], dtype=dtype)
    masks, added = images[..., 0], torch.zeros(2, 3, dtype=dtype)
    for more in ({}, {"added": added, "masks": masks}):
        cost, squared = compare_colors(rgba, images, space="linear", weights=weights, **more, backend=backend)
        (grad,) = torch.autograd.grad(cost.sum(), rgba)
        torch.testing.assert_close(cost, cost.new_tensor([(0.1 + 0.25 * 0.4) / 1.25, 0]))
        torch.testing.assert_close(squared, cost.new_tensor([(0.01 + 0.25 * 0.16) / 1.25, 0]))
        torch.testing.assert_close(grad[0, 0, :, 0], grad.new_tensor([1, -0.25, 0]) / 1.25 / 3)
        assert not grad[1].any()


@every_backend
def test_srgb_is_that_of_all_magnitudes(backend: str) -> None:
    values = torch.cat([torch.logspace(-6, 6, 999), -torch.logspace(-6, 6, 999), torch.tensor([0.0])])
    rgba = torch.nn.functional.pad(values[None, :, None, None].expand(-1, -1, -1, 3), (0, 1)).reshape(1999, 1, 1, 4)
    found, _ = compare_colors(rgba, torch.zeros(1999, 1, 1, 3), backend=backend)
    torch.testing.assert_close(found.double(), srgb_from_linear(values.double()).abs(), rtol=1e-6, atol=0)


@every_backend
def test_what_is_not_finite_is_seen(backend: str) -> None:
    for bad in (torch.nan, torch.inf):
        rgba = one_pixel(bad, 0.5, 0.5, 1, dtype=torch.float32)
        for space in ("linear", "srgb", "log"):
            for image in (torch.rand(1, 1, 1, 3), rgba[..., :3]):
                cost, squared = compare_colors(rgba, image, space=space, backend=backend)
                assert not bool(cost.isfinite().any()) and not bool(squared.isfinite().any())
