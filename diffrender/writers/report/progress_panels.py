"""Progress pictures: target, rendering and their difference, side by side, for a few views."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.imaging.metrics import psnr_db
from diffrender.imaging.tone_mapping import PLAIN, Display
from diffrender.scene.target_views import Views
from diffrender.writers.images.png import encode_srgb8, write_encoded_png
from diffrender.writers.report.colormap import difference_colors

PAPER, INK, QUIET, FRAME = "#202226", "#f2f3f5", "#9aa0a8", "#34373d"
COLUMNS = ("target", "render", "difference")
# In pixels of the picture.
MARGIN, GAP, BLOCK_GAP, CAPTION, HEADER, FOOTER = 24, 8, 28, 26, 78, 50
# The long side of a cell. Small images are enlarged by whole factors, so that all pixels look alike.
SMALLEST_CELL, LARGEST_CELL = 160, 320
# The header and the scale need this width, even above a single narrow view.
SMALLEST_WIDTH = 560
# Positions of numbers at the colour bar, as shares of its range.
SCALE_TICKS = (0.0, 0.04, 0.2, 0.5, 1.0)
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 22, 15, 13


@dataclass(frozen=True)
class ProgressPanels:
    """Draws progress pictures of a few views: target | render | difference for each.

    Up to three views are below one another; more are in two blocks, so that the picture stays wide.

    targets: the views to show.
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

    def picture(self, rgba: Tensor, step: int, n_steps: int, loss: float | None) -> np.ndarray:
        """Draw the picture, uint8 [h, w, 3] sRGB; its size depends on the views only.

        rgba: [n, H, W, 3 or 4] linear, rendered from the targets' cameras; alpha is ignored.
        step, n_steps, loss: for the header; the loss is None if it is not known yet.
        The PSNR in the header is the mean over the views shown.
        """
        check_shape("ProgressPanels.picture", "rgba", rgba, (*self.targets.images.shape[:3], "C"))
        images = self.targets.images, rgba[..., :3]
        target8, render8 = (encode_srgb8(image) for image in images)
        shown_target8, shown_render8 = (encode_srgb8(self.display.map_tones(image)) for image in images)
        scores_db = [_psnr_db(target, render) for target, render in zip(target8, render8, strict=True)]
        layout = _Layout.of(len(target8), *target8.shape[1:3])
        canvas = Image.new("RGB", layout.size, PAPER)
        draw = ImageDraw.Draw(canvas)
        _draw_header(draw, layout, step, n_steps, loss, sum(scores_db) / len(scores_db))
        for block in range(layout.n_blocks):
            for column, title in enumerate(COLUMNS):
                x, y = layout.corner(block, column)
                draw.text((x, y - 8), title, QUIET, _font(TEXT_SIZE), anchor="ls")
        for view, name in enumerate(self.targets.names):
            difference = self._difference(target8[view], render8[view])
            for column, pixels in enumerate((shown_target8[view], shown_render8[view], difference)):
                x, y = layout.corner(view, column)
                draw.rectangle((x - 1, y - 1, x + layout.cell[0], y + layout.cell[1]), outline=FRAME)
                canvas.paste(_fit(pixels, layout.cell), (x, y))
            _draw_caption(draw, layout, view, name, scores_db[view])
        self._draw_scale(canvas, draw, layout)
        return np.asarray(canvas)

    def write(self, path: Path, rgba: Tensor, step: int, n_steps: int, loss: float | None) -> np.ndarray:
        """Write `picture(...)` as a PNG, and return it. Raises DataError if the file cannot be written."""
        pixels = self.picture(rgba, step, n_steps, loss)
        write_encoded_png(path, pixels)
        return pixels

    def _difference(self, target: np.ndarray, render: np.ndarray) -> np.ndarray:
        absolute = np.abs(target.astype(np.float32) - render.astype(np.float32)).mean(-1) / 255
        colors = difference_colors()
        index = np.sqrt(np.minimum(absolute / self.difference_range, 1)) * (len(colors) - 1)
        return colors[np.round(index).astype(np.int64)]

    def _draw_scale(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, layout: _Layout) -> None:
        """Draw the colour bar of differences, below their last column, and its caption."""
        width, height = max(layout.cell[0], SMALLEST_CELL), 10
        x, y = layout.size[0] - MARGIN - width, layout.size[1] - FOOTER
        bar = Image.fromarray(difference_colors()[None]).resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(bar, (x, y))
        draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        font, below = _font(SMALL_SIZE), y + height + 6
        for share in SCALE_TICKS:
            tick = x + math.sqrt(share) * width
            anchor = "la" if share == 0 else "ra" if share == 1 else "ma"
            draw.text((tick, below), f"{share * self.difference_range:.3g}", QUIET, font, anchor=anchor)
        draw.text((x - 14, y + height / 2), "mean absolute difference of R, G, B (sRGB 0-1)", QUIET, font, anchor="rm")


@dataclass(frozen=True)
class _Layout:
    """The grid of cells: n_blocks side by side, each n_rows views high and three columns wide.

    cell: (width, height) of a shown image. size: (width, height) of the picture.
    """

    n_blocks: int
    n_rows: int
    cell: tuple[int, int]

    @classmethod
    def of(cls, n_views: int, height: int, width: int) -> _Layout:
        n_blocks = 1 if n_views <= 3 else 2
        return cls(n_blocks, -(-n_views // n_blocks), _cell_size(height, width))

    @property
    def block_width(self) -> int:
        return 3 * self.cell[0] + 2 * GAP

    @property
    def size(self) -> tuple[int, int]:
        width = 2 * MARGIN + self.n_blocks * self.block_width + (self.n_blocks - 1) * BLOCK_GAP
        return max(width, SMALLEST_WIDTH), HEADER + self.n_rows * (self.cell[1] + CAPTION + GAP) + FOOTER

    def corner(self, view: int, column: int) -> tuple[int, int]:
        """Return the top left pixel of a cell."""
        row, block = divmod(view, self.n_blocks)
        x = MARGIN + block * (self.block_width + BLOCK_GAP) + column * (self.cell[0] + GAP)
        return x, HEADER + row * (self.cell[1] + CAPTION + GAP)


def _cell_size(height: int, width: int) -> tuple[int, int]:
    long_side = max(height, width)
    if long_side > LARGEST_CELL:
        ratio = LARGEST_CELL / long_side
        return max(1, round(width * ratio)), max(1, round(height * ratio))
    factor = -(-SMALLEST_CELL // long_side)
    return width * factor, height * factor


def _fit(pixels: np.ndarray, cell: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(pixels)
    if picture.size == cell:
        return picture
    enlarged = cell[0] > picture.width
    return picture.resize(cell, Image.Resampling.BICUBIC if enlarged else Image.Resampling.BOX)


def _draw_header(
    draw: ImageDraw.ImageDraw, layout: _Layout, step: int, n_steps: int, loss: float | None, score_db: float
) -> None:
    """Draw the step on the left; loss and PSNR on the right, each number in ink after its quiet name."""
    baseline = MARGIN + 14
    title, text = _font(TITLE_SIZE), _font(TEXT_SIZE)
    x = MARGIN
    draw.text((x, baseline), f"step {step}", INK, title, anchor="ls")
    x += draw.textlength(f"step {step}", title) + 7
    draw.text((x, baseline), f"of {n_steps}", QUIET, text, anchor="ls")
    right = layout.size[0] - MARGIN
    for name, value in (("PSNR", _decibels(score_db)), ("loss", "-" if loss is None else f"{loss:.4g}")):
        draw.text((right, baseline), value, INK, title, anchor="rs")
        right -= draw.textlength(value, title) + 7
        draw.text((right, baseline), name, QUIET, text, anchor="rs")
        right -= draw.textlength(name, text) + 24


def _draw_caption(draw: ImageDraw.ImageDraw, layout: _Layout, view: int, name: str, score_db: float) -> None:
    """Draw below a view's cells: its name, and its own PSNR below the render."""
    font = _font(SMALL_SIZE)
    x, y = layout.corner(view, 0)
    below = y + layout.cell[1] + 5
    draw.text((x, below), _shorten(draw, name, font, layout.cell[0]), QUIET, font, anchor="la")
    draw.text((layout.corner(view, 1)[0], below), _decibels(score_db), QUIET, font, anchor="la")


def _shorten(draw: ImageDraw.ImageDraw, name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the name, without its beginning if it is too wide: file names differ at their end."""
    if draw.textlength(name, font) <= width:
        return name
    while name and draw.textlength("…" + name, font) > width:
        name = name[1:]
    return "…" + name


def _decibels(score_db: float) -> str:
    return "identical" if score_db == float("inf") else f"{score_db:.1f} dB"


def _psnr_db(target: np.ndarray, render: np.ndarray) -> float:
    return float(psnr_db(torch.from_numpy(target) / 255, torch.from_numpy(render) / 255))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the official wheel of pillow>=10.1")
    return font
