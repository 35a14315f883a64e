"""Places in arrays [rows, columns, channels] of the numbers that a Triton program works on."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def places(start, columns, channels, BLOCK: tl.constexpr):
    """Return row, column and channel of the BLOCK numbers from `start` on, an int64.

    Lanes divide in int32: in int64 it is several times as slow, so that only the program's first number is split so.
    """
    pixel = start // channels
    lane = (start - pixel * channels).to(tl.int32) + tl.arange(0, BLOCK)
    row = pixel // columns
    column = (pixel - row * columns).to(tl.int32) + lane // channels
    return row + column // columns, column % columns, lane % channels
