"""Whether the images of a capture fit into memory."""

from __future__ import annotations

import os

from diffrender.errors import DataError

# What is kept of each pixel: a colour, a mask and a weight, of four bytes each; and as much again by what a fit makes.
BYTES_PER_PIXEL = 2 * 4 * 5
SUGGESTED_SIDE = 800


def check_memory(n_images: int, height: int, width: int) -> None:
    """Raise DataError if so many images of this size need more memory than the machine has."""
    memory, needed = physical_memory(), n_images * height * width * BYTES_PER_PIXEL
    if memory is not None and needed > memory:
        raise DataError(
            f"its {n_images} images of {width} x {height} (width x height) need about {needed / 1e9:.0f} GB of memory,"
            f" and this machine has {memory / 1e9:.0f}; shrink them: `targets.resolution: {SUGGESTED_SIDE}`"
        )


def physical_memory() -> int | None:
    """Return the bytes of the machine's memory, None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
