"""Compared colours in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.imaging.color import COLOR_SPACES, is_clipped
from diffrender.imaging.penalties import charbonnier, huber, l1, l2


def color_difference(
    rgba: Tensor, images: Tensor, space: str, clips: bool = False, added: Tensor | None = None,
    masks: Tensor | None = None, weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return rendered minus wanted colours [N, H, W, 3] in `space`, differentiable; arguments as of compare_colors.

    They are not weighted, but 0 where weights are.
    """
    if weights is not None:
        # Before anything is computed: the gradient of a NaN stays one, whatever it is multiplied by.
        counts = (weights > 0)[..., None]
        rgba, images = (torch.where(counts, part, torch.zeros_like(part)) for part in (rgba, images))
        masks = None if masks is None else torch.where(counts[..., 0], masks, torch.zeros_like(masks))
    rendered = rgba[..., :3]
    if clips:
        # Where a photograph is overexposed, more light looks the same; otherwise the highlights of bright pictures
        # would pull down their exposure.
        rendered = torch.where(is_clipped(images) & (rendered > images), images, rendered)
    if added is not None and masks is not None:
        # Exact, since both are linear in the background: it is weighted by 1 - coverage.
        offset = added[:, None, None]
        rendered = rendered + (1 - rgba[..., 3:]) * offset
        images = images + (1 - masks[..., None]) * offset
    return COLOR_SPACES[space](rendered) - COLOR_SPACES[space](images)


def forward(
    rgba: Tensor, images: Tensor, space: str, penalty: str, delta: float, clips: bool, added: Tensor | None,
    masks: Tensor | None, weights: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See op.compare_colors."""
    added, masks, weights = (None if part is None else part.detach() for part in (added, masks, weights))
    difference = color_difference(rgba, images.detach(), space, clips, added, masks, weights)
    bent = {"huber": huber, "charbonnier": charbonnier}
    cost = bent[penalty](difference, delta) if penalty in bent else {"l1": l1, "l2": l2}[penalty](difference)
    if weights is None:
        weights = torch.ones_like(images[..., 0])
    total = weights.contiguous().sum((1, 2)).clamp_min(torch.finfo(weights.dtype).tiny)
    cost, squared = ((weights * part.mean(3)).sum((1, 2)) / total for part in (cost, difference.square()))
    return cost, squared
