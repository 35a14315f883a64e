"""Pictures of different sizes, each in the middle of a canvas of one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

LISTED_SIZES = 4


def boxes_on_canvas(sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, int, int]:
    """Return where pictures of these heights and widths are on the smallest canvas that holds each, and its size.

    Returns [N, 4] int64, (top, left, height, width) in whole pixels, and the height and the width of the canvas.
    """
    height, width = (max(size) for size in zip(*sizes, strict=True))
    return torch.tensor([[(height - h) // 2, (width - w) // 2, h, w] for h, w in sizes]), height, width


def put_on_canvas(pictures: Sequence[Tensor], boxes: Tensor, height: int, width: int) -> Tensor:
    """Return pictures [h, w, ...] on canvases [N, height, width, ...] that are 0 elsewhere."""
    canvas = pictures[0].new_zeros(len(pictures), height, width, *pictures[0].shape[2:])
    for picture, (top, left, h, w), place in zip(pictures, boxes.tolist(), canvas, strict=True):
        place[top : top + h, left : left + w] = picture
    return canvas


def describe_sizes(sizes: Sequence[tuple[int, int]], height: int, width: int) -> str:
    """Return a note on pictures of several sizes, (width, height), on canvases of one."""
    common = Counter(sizes).most_common()
    counts = ", ".join(f"{count} of {w} x {h}" for (w, h), count in common[:LISTED_SIZES])
    counts += f" and {len(common) - LISTED_SIZES} more" if len(common) > LISTED_SIZES else ""
    return (
        f"its images have several sizes ({counts}): each is in the middle of a canvas of {width} x {height}, and what"
        " is around it does not count"
    )
