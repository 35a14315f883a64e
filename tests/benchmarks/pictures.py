"""Our picture and the peer's side by side, to see that they are of the same thing."""

from __future__ import annotations

from pathlib import Path

import torch
from benchmarks.peers import compare_with_deodr
from benchmarks.works import Work

from diffrender.writers.images.png import write_png

# Differences are shown so many times as large as they are.
GAIN = 4.0


def save_comparison(path: Path, work: Work) -> None:
    """PNG: ours | the peer's | their difference, GAIN times as bright."""
    agreement = compare_with_deodr(work)
    difference = GAIN * (agreement.ours - agreement.theirs).abs()
    write_png(path, torch.cat([agreement.ours, agreement.theirs, difference], 1))
