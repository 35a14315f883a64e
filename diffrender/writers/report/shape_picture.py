"""shape.png: the shape of a scene in clay and as normals, large, for a few views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ImageColor, ImageDraw
from torch import Tensor

from diffrender.writers.images.png import encode_normals8, write_encoded_png
from diffrender.writers.report.picture_grid import MARGIN, PAPER, QUIET, SMALL_SIZE, PictureGrid, font

# Pixels of the side of a cell; four of them side by side are as wide as the report shows pictures at most.
CELL = 380
FOOTER = 34


def shape_grid(n_views: int, n_columns: int) -> PictureGrid:
    """Return the positions of the cells, which are square; views of two columns are in two blocks."""
    n_blocks = 2 if n_columns == 2 and n_views > 1 else 1
    return PictureGrid(n_blocks, -(-n_views // n_blocks), n_columns, (CELL, CELL), FOOTER)


def encode_view_normals(normal_c: Tensor, coverage: Tensor) -> np.ndarray:
    """Encode normals as colours, uint8 [n, h, w, 3], over dark paper: red to the right, green up, blue to the viewer.

    normal_c: [n, h, w, 3] in the camera frame (+x right, +y down, +z forward), of any length. coverage: [n, h, w].
    """
    colors = encode_normals8(normal_c * normal_c.new_tensor([1.0, -1.0, -1.0]))
    share = coverage.detach().cpu().clamp(0, 1).numpy()[..., None]
    return np.round(share * colors + (1 - share) * ImageColor.getrgb(PAPER)).astype(np.uint8)


def write_shape_picture(
    path: Path, grid: PictureGrid, columns: Mapping[str, np.ndarray], names: Sequence[str], remark: str
) -> None:
    """Write the picture as a PNG. Raises DataError if the file cannot be written.

    columns: title -> an image per view, uint8 [n, h, w, 3] sRGB. names: of the views. remark: after the title.
    """
    canvas = grid.draw(list(columns), list(zip(*columns.values(), strict=True)))
    draw = ImageDraw.Draw(canvas)
    grid.draw_title(draw, "shape", remark)
    for view, name in enumerate(names):
        grid.draw_caption(draw, view, 0, name)
    text = "normals: red to the right, green up, blue towards the viewer"
    draw.text((grid.size[0] - MARGIN, grid.size[1] - MARGIN), text, QUIET, font(SMALL_SIZE), anchor="rs")
    write_encoded_png(path, np.asarray(canvas))
