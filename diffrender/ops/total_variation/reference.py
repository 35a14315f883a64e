"""Total variation in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(texels: Tensor, small: float, covered: Tensor | None, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """See op.total_variation."""
    if covered is None:
        covered = torch.ones(texels.shape[:2], dtype=torch.bool, device=texels.device)
    differences = texels[1:] - texels[:-1], texels[:, 1:] - texels[:, :-1]
    counts = covered[1:] & covered[:-1], covered[:, 1:] & covered[:, :-1]
    total = texels.new_zeros(())
    of_differences = (None, None) if weights is None else (weights[0, :-1].detach(), weights[1, :, :-1].detach())
    for difference, count, weight in zip(differences, counts, of_differences, strict=True):
        # What does not count is replaced before it is measured: 0 times a NaN is one.
        squared = difference.where(count[..., None], 0).square().sum(-1)
        length = (squared + small**2).sqrt() - small
        if weight is not None:
            length = length * weight.where(count, 0)
        total = total + length.sum()
    return total, counts[0].sum() + counts[1].sum()
