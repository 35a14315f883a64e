"""Places of directions in a lat-long map."""

from __future__ import annotations

import pytest
import torch

from diffrender.ops.lat_long_uv import lat_long_uv

F64 = torch.float64


@pytest.mark.parametrize(
    ("direction", "uv"),
    [
        ((1.0, 0.0, 0.0), (0.5, 0.5)),
        ((0.0, 0.0, 2.0), (0.75, 0.5)),
        ((0.0, 0.0, -1.0), (0.25, 0.5)),
        ((1.0, 1.0, 0.0), (0.5, 0.25)),
        ((-1.0, -(2**0.5), 1.0), (0.875, 0.75)),
        ((0.0, 3.0, 0.0), (0.5, 0.0)),
        ((0.0, -1.0, 0.0), (0.5, 1.0)),
        ((0.0, 0.0, 0.0), (0.5, 0.0)),
    ],
)
@pytest.mark.parametrize("backend", [None, "triton", "reference"])
def test_where_directions_are(direction: tuple[float, ...], uv: tuple[float, ...], backend: str | None) -> None:
    given = torch.tensor([direction], dtype=F64)
    torch.testing.assert_close(lat_long_uv(given, backend=backend), torch.tensor([uv], dtype=F64), atol=1e-14, rtol=0)
    # With a half more above and below, the map itself is the middle half.
    padded = torch.tensor([[uv[0], 0.25 + uv[1] / 2]], dtype=F64)
    torch.testing.assert_close(lat_long_uv(given, 0.5, backend=backend), padded, atol=1e-14, rtol=0)


@pytest.mark.parametrize("backend", [None, "triton", "reference"])
def test_only_what_is_at_a_pole_has_its_longitude(backend: str | None) -> None:
    """A hundred-thousandth away the longitude counts, and turns a hundred thousand times as fast as at the equator."""
    near, at = 1e-5, 1e-7
    given = torch.tensor([[0.0, 1.0, near], [0.0, 1.0, at]], dtype=F64, requires_grad=True)
    uv = lat_long_uv(given, backend=backend)
    torch.testing.assert_close(uv[:, 0], torch.tensor([0.75, 0.5], dtype=F64))
    (gradient,) = torch.autograd.grad(uv[:, 0].sum(), given)
    expected = torch.tensor([[-1 / (2 * torch.pi * near), 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=F64)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("backend", [None, "triton", "reference"])
def test_poles_have_no_gradient_and_nan_stays(backend: str | None) -> None:
    given = torch.tensor([[1e-9, 1.0, 0.0], [0.0, -1.0, 0.0], [torch.nan, 0.0, 1.0], [0.0, torch.nan, 1.0]], dtype=F64)
    given.requires_grad_()
    uv = lat_long_uv(given, backend=backend)
    assert uv.isnan().tolist() == [[False, False], [False, False], [True, True], [False, True]]
    (gradient,) = torch.autograd.grad(uv[:2].sum(), given)
    assert not bool(gradient[:2].any())
