"""Sums and means whose rounding does not depend on the number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

# torch splits a reduction to one number among its threads, which changes the order of additions; a reduction to many
# numbers is split only between outputs. So long sums are taken over rows of this length first.
ROW = 1024


def deterministic_sum(values: Tensor) -> Tensor:
    """Return the sum [] of all `values`, bit-identical on CPU for any number of threads; differentiable."""
    flat = values.reshape(-1)
    whole = flat.numel() // ROW * ROW
    if whole < 2 * ROW:
        return flat.sum()
    return deterministic_sum(flat[:whole].reshape(-1, ROW).sum(1)) + flat[whole:].sum()


def deterministic_mean(values: Tensor) -> Tensor:
    """Return the mean [] of all `values`, by `deterministic_sum`; zero if there are none."""
    return deterministic_sum(values) / max(values.numel(), 1)


def sum_per_view(images: Tensor) -> Tensor:
    """Sum [N, H, ...] over all axes but the first, to [N], bit-identical for any number of threads; differentiable."""
    # Rows first: for a single view a direct sum would be a reduction to one number.
    return images.flatten(2).sum(2).sum(1) if images.dim() > 2 else images.sum(1)


def mean_per_view(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average [N, H, ...] over all axes but the first, to [N], by `sum_per_view`; differentiable.

    weights: [N, H, W] of images [N, H, W, ...], how much each pixel counts; None: all the same. The mean is 0 where
        they all are; what has weight 0 may be anything, NaN too.
    """
    count = max(images[0].numel(), 1)
    if weights is None:
        return sum_per_view(images) / count
    total = sum_per_view(weights) * (count / max(weights[0].numel(), 1))
    weights = weights.reshape(*weights.shape, *[1] * (images.dim() - weights.dim()))
    return sum_per_view(torch.where(weights > 0, images, 0) * weights) / torch.where(total > 0, total, 1)
