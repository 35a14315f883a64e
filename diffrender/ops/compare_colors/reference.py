"""Compared colours in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.imaging.color import COLOR_SPACES, is_clipped
from diffrender.imaging.penalties import huber, l1, l2


def color_difference(
    rgba: Tensor, images: Tensor, space: str, clips: bool = False, added: Tensor | None = None,
    masks: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return rendered minus wanted colours [N, H, W, 3] in `space`, differentiable; arguments as of compare_colors."""
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
    masks: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See op.compare_colors."""
    added, masks = (None if part is None else part.detach() for part in (added, masks))
    difference = color_difference(rgba, images.detach(), space, clips, added, masks)
    cost = {"l1": l1, "l2": l2, "huber": lambda d: huber(d, delta)}[penalty](difference)
    count = max(1, 3 * images.shape[1] * images.shape[2])
    return cost.sum((1, 2, 3)) / count, difference.square().sum((1, 2, 3)) / count
