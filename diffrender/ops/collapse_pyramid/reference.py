"""The sum of an image pyramid in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(texels: Tensor, sizes: tuple[tuple[int, int], ...], coarse_share: float, closed: bool) -> Tensor:
    """See op.collapse_pyramid."""
    finest, *coarser = texels.split([rows * columns for rows, columns in sizes])
    total: Tensor | None = None
    for part, (rows, columns) in reversed(list(zip(coarser, sizes[1:], strict=True))):
        image = coarse_share * part.reshape(rows, columns, -1)
        total = image if total is None else image + enlarge(total, closed)
    assert total is not None
    return finest.reshape(*sizes[0], -1) + enlarge(total, closed)


def enlarge(image: Tensor, closed: bool) -> Tensor:
    """Upsample to [2 H, 2 W, C] bilinearly, by sums of shifted copies."""
    columns = _double(image, image[:1], image[-1:]).transpose(0, 1)
    first, last = (columns[-1:], columns[:1]) if closed else (columns[:1], columns[-1:])
    return _double(columns, first, last).transpose(0, 1)


def _double(rows: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Split each row in two, a quarter of the way to either neighbour: [2 H, ...]."""
    above, below = torch.cat([before, rows[:-1]]), torch.cat([rows[1:], after])
    return torch.stack([torch.lerp(rows, above, 0.25), torch.lerp(rows, below, 0.25)], 1).flatten(0, 1)
