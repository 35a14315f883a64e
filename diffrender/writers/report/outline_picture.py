"""check.png: the outlines of a rendering and of the masks, drawn over the photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from diffrender.writers.images.png import encode_srgb8, write_encoded_png
from diffrender.writers.report.picture_grid import MARGIN, SMALL_SIZE, PictureGrid, font

# Pixels of the long side of a cell, at most, and cells side by side.
CELL, BESIDE = 380, 4
WIDTH, FOOTER = 2, 34
# Apart for all kinds of colour vision; the rendering is drawn last.
MASK, RENDERED = "#56b4e9", "#ff7a00"


def write_outlines(
    path: Path, images: Tensor, masks: Tensor | None, coverage: Tensor | None, captions: Sequence[str], remark: str
) -> None:
    """Write the picture as a PNG, a cell per view. Raises DataError if the file cannot be written.

    images: [N, H, W, 3] linear. masks, coverage: [N, H, W] in 0..1, of the targets and of the rendering; None: no
    outline. captions: of the views. remark: after the title.
    """
    height, width = images.shape[1:3]
    scale = CELL / max(height, width)
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    beside = min(BESIDE, len(images))
    grid = PictureGrid(beside, -(-len(images) // beside), 1, cell, FOOTER)
    pixels = []
    for view, image in enumerate(encode_srgb8(images)):
        shown = np.asarray(Image.fromarray(image).resize(cell, Image.Resampling.BICUBIC)).copy()
        for shape, color in ((masks, MASK), (coverage, RENDERED)):
            if shape is not None:
                shown[_outline(shape[view], cell)] = ImageColor.getrgb(color)
        pixels.append([shown])
    canvas = grid.draw([""], pixels)
    draw = ImageDraw.Draw(canvas)
    grid.draw_title(draw, "check", remark)
    for view, caption in enumerate(captions):
        grid.draw_caption(draw, view, 0, caption)
    x, y = MARGIN, grid.size[1] - MARGIN
    for text, color, shape in (("mask", MASK, masks), ("rendered start", RENDERED, coverage)):
        if shape is not None:
            draw.rectangle((x, y - 9, x + 14, y - 5), fill=color)
            draw.text((x + 20, y), text, color, font(SMALL_SIZE), anchor="ls")
            x += 20 + round(draw.textlength(text, font(SMALL_SIZE))) + 24
    write_encoded_png(path, np.asarray(canvas))


def _outline(shape: Tensor, cell: tuple[int, int]) -> np.ndarray:
    """Return which pixels of a cell (width, height) are on the outline of `shape` [H, W]: its inner rim."""
    from scipy.ndimage import binary_erosion

    enlarged = Image.fromarray(shape.detach().cpu().float().numpy()).resize(cell, Image.Resampling.BILINEAR)
    inside = np.asarray(enlarged) >= 0.5
    return inside & np.logical_not(binary_erosion(inside, iterations=WIDTH, border_value=1))
