"""The image that antialiasing approximates, by brute force."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.render.edge_models.hard import Hard
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene


def render_supersampled(
    scene: Scene,
    cameras: Cameras,
    samples: int = 8,
    *,
    buffers: Sequence[str] = ("color",),
    backend: str | None = None,
) -> Tensor:
    """The image [N, H, W, C + 1] of a box filter one pixel wide, by samples x samples hard samples a pixel.

    It holds `buffers` (as in `render`) and coverage, rgba for colours, and no gradients.

    Shares rasterisation and shading with `render`, but none of its edge handling: evidence for it, and targets that
    were not made by the model which is fitted to them. One view is rendered at a time to bound the memory.
    """
    fine = cameras.resized(cameras.height * samples, cameras.width * samples)
    images = []
    with torch.no_grad():
        for view in range(len(cameras)):
            image = render(scene, fine.select([view]), Hard(), buffers=buffers, backend=backend).image
            blocks = image.reshape(1, cameras.height, samples, cameras.width, samples, image.shape[-1])
            images.append(blocks.mean((2, 4)))
    return torch.cat(images)
