"""Supersampling: the box-filtered image that antialiasing approximates, by brute force."""

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
    aovs: Sequence[str] = ("color",),
    backend: str | None = None,
) -> Tensor:
    """Render with a box filter one pixel wide by samples x samples hard samples per pixel: [N, H, W, C + 1].

    The image holds `aovs` (as in `render`) and coverage, without gradients.

    It shares rasterization and shading with `render`, but none of its edge handling: a reference for it, and a source
    of targets that the fitted model did not make itself. Views are rendered one by one to limit memory.
    """
    fine = cameras.resized(cameras.height * samples, cameras.width * samples)
    images = []
    with torch.no_grad():
        for view in range(len(cameras)):
            image = render(scene, fine.select([view]), Hard(), aovs=aovs, backend=backend).image
            blocks = image.reshape(1, cameras.height, samples, cameras.width, samples, image.shape[-1])
            images.append(blocks.mean((2, 4)))
    return torch.cat(images)
