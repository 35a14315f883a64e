import pytest
import torch

from diffrender.imaging.color import linear_from_srgb, srgb_from_linear

DOUBLE = torch.float64


@pytest.mark.parametrize(
    ("linear", "encoded"),
    # Well-known pairs; linear 0.5 is byte 188.
    [(0.0, 0.0), (1.0, 1.0), (0.5, 0.7353569830524495), (0.2140411404822325, 0.5), (0.001, 0.01292), (0.18, 0.4613561)],
)
def test_known_values_both_ways(linear, encoded):
    torch.testing.assert_close(
        srgb_from_linear(torch.tensor(linear, dtype=DOUBLE)), torch.tensor(encoded, dtype=DOUBLE), atol=1e-7, rtol=0
    )
    torch.testing.assert_close(
        linear_from_srgb(torch.tensor(encoded, dtype=DOUBLE)), torch.tensor(linear, dtype=DOUBLE), atol=1e-7, rtol=0
    )


def test_round_trip_inside_and_outside_of_0_to_1():
    values = torch.linspace(-0.5, 3, 10_001, dtype=DOUBLE)
    # The standard's two pieces differ by 1e-8 where they meet.
    torch.testing.assert_close(linear_from_srgb(srgb_from_linear(values)), values, atol=1e-7, rtol=1e-12)


def test_every_byte_survives_float32():
    encoded = torch.arange(256) / 255
    assert torch.equal((srgb_from_linear(linear_from_srgb(encoded)) * 255).round().long(), torch.arange(256))


@pytest.mark.parametrize("function", [srgb_from_linear, linear_from_srgb])
def test_curves_increase_with_finite_gradients_everywhere(function):
    values = torch.cat([torch.linspace(-2, 4, 5001), torch.tensor([0.0, -0.0, 1e-30, 0.0031308, 0.04045, 1.0])])
    values = values.sort().values.requires_grad_()
    result = function(values)
    result.sum().backward()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all() and (values.grad > 0).all()
    assert (result.diff() >= 0).all()


def test_gradients_match_finite_differences():
    values = torch.tensor([-0.2, 0.0, 0.001, 0.02, 0.3, 0.9, 1.5], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(srgb_from_linear, (values,))
    assert torch.autograd.gradcheck(linear_from_srgb, (values,))
