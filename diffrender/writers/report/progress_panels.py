"""Progress pictures: target, rendering, their difference and the shape, side by side, for a few views."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.imaging.metrics import psnr_db
from diffrender.imaging.tone_mapping import PLAIN, Display
from diffrender.scene.target_views import Views
from diffrender.writers.images.png import encode_srgb8, write_encoded_png
from diffrender.writers.report.colormap import difference_colors
from diffrender.writers.report.picture_grid import (
    FRAME,
    INK,
    MARGIN,
    QUIET,
    SMALL_SIZE,
    TEXT_SIZE,
    TITLE_SIZE,
    PictureGrid,
    font,
)

COLUMNS = ("target", "render", "difference", "shape")
FOOTER = 50
# Pixels of the long side of a cell: small images are enlarged, by whole factors where there is room. With two blocks of
# cells, the picture stays below 2,000 pixels.
SMALLEST_CELL = 160
LARGEST_CELL = {1: 320, 2: 232}
# Pixels of a stripe where targets are not known, and the grays of stripes, of 255.
STRIPE, HATCHING = 3, (88, 104)
# Positions of numbers at the colour bar, as shares of its range.
SCALE_TICKS = (0.0, 0.04, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class ProgressPanels:
    """Draws progress pictures of a few views: target | render | difference | shape for each.

    Up to three views are below one another; more are in two blocks, so that the picture stays wide.

    targets: the views to show. What they do not know is hatched in gray, and differs by nothing.
    difference_range: the absolute difference, in sRGB units of 0..1, that gets the brightest colour. It is the same
        in every picture of a fit, so that pictures of different steps can be compared. Colours follow the square
        root, so that the small differences at the end are as visible as the large ones at the start.
    display: how targets and renderings are shown; differences and PSNR are of linear light, clipped at 1.
    """

    targets: Views
    difference_range: float = 0.5
    display: Display = PLAIN

    def __post_init__(self) -> None:
        if len(self.targets) == 0:
            raise ShapeError("ProgressPanels: targets must hold at least one view, got none")
        if not self.difference_range > 0:
            raise ShapeError(f"ProgressPanels: difference_range must be positive, got {self.difference_range}")

    @cached_property
    def grid(self) -> PictureGrid:
        """The positions of the cells."""
        n_views, height, width = self.targets.images.shape[:3]
        n_blocks = 1 if n_views <= 3 else 2
        cell = _cell_size(height, width, LARGEST_CELL[n_blocks])
        return PictureGrid(n_blocks, -(-n_views // n_blocks), len(COLUMNS), cell, FOOTER)

    def picture(
        self, rgba: Tensor, clay: Tensor, title: str, remark: str = "", loss: float | None = None
    ) -> np.ndarray:
        """Draw the picture, uint8 [h, w, 3] sRGB; its size depends on the views only.

        rgba: [n, H, W, 3 or 4] linear, rendered from the targets' cameras; alpha is ignored.
        clay: [n, h, w, 3] linear, the shape from the same cameras; sharpest in the size of `grid.cell`.
        title, remark, loss: for the header, as ("step 10", "of 300", 0.02); a loss that is None is not shown.
        The PSNR in the header is the mean over the views shown.
        """
        check_shape("ProgressPanels.picture", "rgba", rgba, (*self.targets.images.shape[:3], "C"))
        check_shape("ProgressPanels.picture", "clay", clay, (len(rgba), "h", "w", 3))
        weights = [None] * len(rgba) if self.targets.weights is None else list(self.targets.weights.cpu().numpy())
        target8, shown_target8 = self._target8
        shown_target8 = [_hatched(*each) for each in zip(shown_target8, weights, strict=True)]
        render8, shown_render8 = self._encode(rgba[..., :3])
        triples = list(zip(target8, render8, weights, strict=True))
        difference8 = [self._difference(*each) for each in triples]
        scores_db = [_psnr_db(*each) for each in triples]
        cells = list(zip(shown_target8, shown_render8, difference8, encode_srgb8(clay), strict=True))
        canvas = self.grid.draw(COLUMNS, cells)
        draw = ImageDraw.Draw(canvas)
        self.grid.draw_title(draw, title, remark)
        self._draw_numbers(draw, sum(scores_db) / len(scores_db), loss)
        for view, (name, score_db) in enumerate(zip(self.targets.names, scores_db, strict=True)):
            self.grid.draw_caption(draw, view, 0, name)
            self.grid.draw_caption(draw, view, 1, _decibels(score_db))
        self._draw_scale(canvas, draw)
        return np.asarray(canvas)

    def write(
        self, path: Path, rgba: Tensor, clay: Tensor, title: str, remark: str = "", loss: float | None = None
    ) -> np.ndarray:
        """Write `picture(...)` as a PNG, and return it. Raises DataError if the file cannot be written."""
        pixels = self.picture(rgba, clay, title, remark, loss)
        write_encoded_png(path, pixels)
        return pixels

    @cached_property
    def _target8(self) -> tuple[np.ndarray, np.ndarray]:
        return self._encode(self.targets.images)

    def _encode(self, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the image in 8 bits as it is compared, clipped at 1, and as it is shown."""
        compared = encode_srgb8(image)
        return compared, compared if self.display == PLAIN else encode_srgb8(self.display.map_tones(image))

    def _difference(self, target: np.ndarray, render: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        absolute = np.abs(target.astype(np.float32) - render.astype(np.float32)).mean(-1) / 255
        if weight is not None:
            absolute *= weight > 0
        colors = difference_colors()
        index = np.sqrt(np.minimum(absolute / self.difference_range, 1)) * (len(colors) - 1)
        return colors[np.round(index).astype(np.int64)]

    def _draw_numbers(self, draw: ImageDraw.ImageDraw, score_db: float, loss: float | None) -> None:
        """Draw loss and PSNR at the top right, each number in ink after its quiet name."""
        views = "this view" if len(self.targets) == 1 else "these views"
        numbers = [(f"PSNR of {views}", _decibels(score_db))] + ([] if loss is None else [("loss", f"{loss:.4g}")])
        right, baseline = self.grid.size[0] - MARGIN, MARGIN + 14
        for name, value in numbers:
            draw.text((right, baseline), value, INK, font(TITLE_SIZE), anchor="rs")
            right -= draw.textlength(value, font(TITLE_SIZE)) + 7
            draw.text((right, baseline), name, QUIET, font(TEXT_SIZE), anchor="rs")
            right -= draw.textlength(name, font(TEXT_SIZE)) + 24

    def _draw_scale(self, canvas: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Draw the colour bar of differences at the bottom right, and its caption."""
        width, height = max(self.grid.cell[0], SMALLEST_CELL), 10
        x, y = self.grid.size[0] - MARGIN - width, self.grid.size[1] - FOOTER
        bar = Image.fromarray(difference_colors()[None]).resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(bar, (x, y))
        draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        small, below = font(SMALL_SIZE), y + height + 6
        for share in SCALE_TICKS:
            tick = x + math.sqrt(share) * width
            anchor = "la" if share == 0 else "ra" if share == 1 else "ma"
            draw.text((tick, below), f"{share * self.difference_range:.3g}", QUIET, small, anchor=anchor)
        text = "difference: mean absolute difference of R, G, B (sRGB 0-1)"
        draw.text((x - 14, y + height / 2), text, QUIET, small, anchor="rm")


def _cell_size(height: int, width: int, largest: int) -> tuple[int, int]:
    long_side = max(height, width)
    ratio = min(max(1, -(-SMALLEST_CELL // long_side)), largest / long_side)
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _decibels(score_db: float) -> str:
    return "identical" if score_db == float("inf") else f"{score_db:.1f} dB"


def _psnr_db(target: np.ndarray, render: np.ndarray, weight: np.ndarray | None) -> float:
    weights = None if weight is None else torch.from_numpy(weight)
    return float(psnr_db(torch.from_numpy(target) / 255, torch.from_numpy(render) / 255, weights))


def _hatched(pixels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return the picture [h, w, 3] with gray stripes over what is not known of it."""
    if weight is None:
        return pixels
    row, column = np.indices(weight.shape)
    stripes = np.where((row + column) // STRIPE % 2, *HATCHING)[..., None]
    mixed = np.where(weight[..., None] > 0, weight[..., None] * pixels, 0) + (1 - weight[..., None]) * stripes
    return np.round(mixed).astype(np.uint8)
