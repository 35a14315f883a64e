"""Supersampling: the box-filtered image that antialiasing approximates, by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.render.edge_models.antialias import sample_positions
from diffrender.render.edge_models.hard import Hard
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene

# Along each side of a pixel; more are rendered as several images, each moved by a part of a sample.
MOST_AT_ONCE = 8


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

    Up to 8 samples along a side are a regular grid. More are n^2 of such grids, n the least divisor that leaves at most
    8, which do not share a row or column (as the samples of `Antialias`): edges along the image's axes are as exact as
    with n times as many.
    It shares rasterization and shading with `render`, but none of its edge handling: a reference for it, and a source
    of targets that the fitted model did not make itself. Views and grids are rendered one by one to limit memory.
    """
    grids = next(n for n in range(1, samples + 1) if samples % n == 0 and samples // n <= MOST_AT_ONCE)
    side = samples // grids
    fine = cameras.resized(cameras.height * side, cameras.width * side)
    places = fine.center_px.new_tensor(sample_positions(grids))
    images = []
    with torch.no_grad():
        for view in range(len(cameras)):
            total: Tensor | float = 0.0
            for place in places:
                moved = replace(fine, center_px=fine.center_px + 0.5 - place)
                image = render(scene, moved.select([view]), Hard(), aovs=aovs, backend=backend).image
                total = total + image.reshape(1, cameras.height, side, cameras.width, side, -1).mean((2, 4))
            images.append(total / len(places))
    return torch.cat(images)
