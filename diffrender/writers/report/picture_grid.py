"""Grids of pictures: a row of cells per view, with titles, names and frames, on dark paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, QUIET, FRAME = "#202226", "#f2f3f5", "#9aa0a8", "#34373d"
# In pixels of the picture.
MARGIN, GAP, BLOCK_GAP, CAPTION, HEADER = 24, 8, 28, 26, 78
# The header needs this width, even above a single narrow view.
SMALLEST_WIDTH = 640
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 22, 15, 13


@dataclass(frozen=True)
class PictureGrid:
    """The positions of cells: n_blocks side by side, each n_rows views high and n_columns cells wide.

    cell: (width, height) of a cell. footer: height below the last row.
    """

    n_blocks: int
    n_rows: int
    n_columns: int
    cell: tuple[int, int]
    footer: int

    @property
    def block_width(self) -> int:
        """Width of the cells of one view."""
        return self.n_columns * self.cell[0] + (self.n_columns - 1) * GAP

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture."""
        width = 2 * MARGIN + self.n_blocks * self.block_width + (self.n_blocks - 1) * BLOCK_GAP
        return max(width, SMALLEST_WIDTH), HEADER + self.n_rows * (self.cell[1] + CAPTION + GAP) + self.footer

    def corner(self, view: int, column: int) -> tuple[int, int]:
        """Return the top left pixel of a cell."""
        row, block = divmod(view, self.n_blocks)
        x = MARGIN + block * (self.block_width + BLOCK_GAP) + column * (self.cell[0] + GAP)
        return x, HEADER + row * (self.cell[1] + CAPTION + GAP)

    def draw(self, columns: Sequence[str], cells: Sequence[Sequence[np.ndarray]]) -> Image.Image:
        """Draw titles and cells; an image of another size than a cell is resized.

        columns: a title per column. cells: per view, an image (uint8 [h, w, 3] sRGB) per column.
        """
        canvas = Image.new("RGB", self.size, PAPER)
        draw = ImageDraw.Draw(canvas)
        for block in range(self.n_blocks):
            for column, title in enumerate(columns):
                x, y = self.corner(block, column)
                draw.text((x, y - 8), title, QUIET, font(TEXT_SIZE), anchor="ls")
        for view, images in enumerate(cells):
            for column, pixels in enumerate(images):
                x, y = self.corner(view, column)
                draw.rectangle((x - 1, y - 1, x + self.cell[0], y + self.cell[1]), outline=FRAME)
                canvas.paste(_fit(pixels, self.cell), (x, y))
        return canvas

    def draw_title(self, draw: ImageDraw.ImageDraw, title: str, remark: str) -> None:
        """Draw the title at the top left, and a quiet remark after it."""
        baseline = MARGIN + 14
        draw.text((MARGIN, baseline), title, INK, font(TITLE_SIZE), anchor="ls")
        x = MARGIN + draw.textlength(title, font(TITLE_SIZE)) + 7
        draw.text((x, baseline), remark, QUIET, font(TEXT_SIZE), anchor="ls")

    def draw_caption(self, draw: ImageDraw.ImageDraw, view: int, column: int, text: str) -> None:
        """Draw text below a cell; if it is too wide, without its beginning: file names differ at their end."""
        x, y = self.corner(view, column)
        small = font(SMALL_SIZE)
        shown = text
        while len(text) > 1 and draw.textlength(shown, small) > self.cell[0]:
            text = text[1:]
            shown = "…" + text
        draw.text((x, y + self.cell[1] + 5), shown, QUIET, small, anchor="la")


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of all pictures, `size` pixels high."""
    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the official wheel of pillow>=10.1")
    return found


def _fit(pixels: np.ndarray, cell: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(pixels)
    if picture.size == cell:
        return picture
    enlarged = cell[0] > picture.width
    return picture.resize(cell, Image.Resampling.BICUBIC if enlarged else Image.Resampling.BOX)
