"""Sums whose rounding does not depend on the number of threads."""

from __future__ import annotations

from torch import Tensor

# torch splits a sum into one number among its threads, which changes the order of additions; a sum into many numbers
# is split between the numbers only. So long sums are taken in rows of this length first.
ROW = 1024


def deterministic_sum(values: Tensor) -> Tensor:
    """The sum [] of all `values`, bitwise the same on CPU whatever the number of threads; differentiable."""
    flat = values.reshape(-1)
    whole = flat.numel() // ROW * ROW
    if whole < 2 * ROW:
        return flat.sum()
    return deterministic_sum(flat[:whole].reshape(-1, ROW).sum(1)) + flat[whole:].sum()


def deterministic_mean(values: Tensor) -> Tensor:
    """The mean [] of all `values`, likewise; zero where there are none."""
    return deterministic_sum(values) / max(values.numel(), 1)


def sum_per_view(images: Tensor) -> Tensor:
    """[N] sums over everything but the first axis of [N, H, ...], likewise; differentiable."""
    # Rows first: with a single view a direct sum would be one into one number.
    return images.flatten(2).sum(2).sum(1) if images.dim() > 2 else images.sum(1)


def mean_per_view(images: Tensor) -> Tensor:
    """[N] means over everything but the first axis of [N, H, ...], likewise; differentiable."""
    return sum_per_view(images) / max(images[0].numel(), 1)
