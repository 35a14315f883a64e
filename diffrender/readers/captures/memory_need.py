"""Whether the images of a capture fit into memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from diffrender.errors import DataError

# What is kept of each pixel: a colour, a mask and a weight, of four bytes each; and as much again by what a fit makes.
BYTES_PER_PIXEL = 2 * 4 * 5
SUGGESTED_SIDE = 800
# Where Linux tells the limit of a container (cgroups 2 and 1).
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_memory(n_images: int, height: int, width: int) -> None:
    """Raise DataError if so many images of this size need more memory than the machine has."""
    memory, needed = physical_memory(), n_images * height * width * BYTES_PER_PIXEL
    if memory is not None and needed > memory:
        raise DataError(
            f"its {n_images} images of {width} x {height} (width x height) need about {needed / 1e9:.0f} GB of memory,"
            f" and this machine has {memory / 1e9:.0f}; shrink them: `targets.resolution: {SUGGESTED_SIDE}`"
        )


def physical_memory() -> int | None:
    """Return the bytes of the machine's memory, or of the container's if those are fewer; None if neither is told."""
    known = []
    with suppress(AttributeError, ValueError, OSError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in LIMITS:
        with suppress(ValueError, OSError):  # "max": no limit
            known.append(int(Path(file).read_text()))
    return min(known, default=None)
