"""Comparison and update of the committed images in tests/goldens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from support.pictures import write_failure

from diffrender.writers.images.png import write_encoded_png

FOLDER = Path(__file__).parents[1] / "goldens"


@dataclass(frozen=True)
class PictureTolerance:
    """Bounds on the difference of uint8 pictures.

    levels: the largest difference of a pixel, of 255. mean: the largest mean absolute difference, in levels.
    outliers: fraction of pixels that may differ by more: rounding on another processor moves a sample across an edge.
    """

    levels: int = 2
    outliers: float = 0.001
    mean: float = 0.1

    def describe_mismatch(self, got: np.ndarray, expected: np.ndarray) -> str | None:
        """Describe how `got` differs by more than the bounds allow, or return None."""
        if got.shape != expected.shape:
            return f"its shape must be {expected.shape}, got {got.shape}"
        difference = np.abs(got.astype(int) - expected)
        outliers, mean = float((difference.max(-1) > self.levels).mean()), float(difference.mean())
        if outliers <= self.outliers and mean <= self.mean:
            return None
        return (
            f"{outliers:.2%} of the pixels differ by more than {self.levels} levels (at most {self.outliers:.2%} may), "
            f"the mean difference is {mean:.3f} levels (at most {self.mean:g} allowed)"
        )


def read_golden(path: Path) -> np.ndarray:
    """Read a golden as uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def assert_like_golden(name: str, got: np.ndarray, tolerance: PictureTolerance, folder: Path = FOLDER) -> None:
    """Fail unless `got` matches `name`.png in `folder`; on failure, write both and their difference to look at."""
    expected = read_golden(folder / f"{name}.png")
    mismatch = tolerance.describe_mismatch(got, expected)
    if mismatch is None:
        return
    pictures = {"got": got, "expected": expected}
    if got.shape == expected.shape:
        difference = np.abs(got.astype(int) - expected)
        pictures["difference"] = (255 * difference / difference.max()).astype(np.uint8)
    raise AssertionError(
        f"{name}: {mismatch}. {', '.join(f'{kind}.png' for kind in pictures)} are in {write_failure(**pictures)}. "
        "If the change is intended, run python scripts/update_goldens.py"
    )


def update_goldens(cases: Mapping[str, Callable[[], np.ndarray]], folder: Path = FOLDER) -> list[str]:
    """Write pictures that are new or not bit-identical and delete those without a case; return one line per change."""
    changes = []
    for name, render in cases.items():
        path, got = folder / f"{name}.png", render()
        before = read_golden(path) if path.is_file() else None
        if before is not None and before.shape == got.shape:
            difference = np.abs(got.astype(int) - before)
            if not difference.any():
                continue
            fraction = float(difference.any(-1).mean())
            changes.append(
                f"{name}: {fraction:.2%} of the pixels change by up to {difference.max()}, mean {difference.mean():.3f}"
            )
        else:
            changes.append(f"{name}: {'new' if before is None else 'has another size'}")
        write_encoded_png(path, got)
    for path in sorted(folder.glob("*.png")):
        if path.stem not in cases:
            path.unlink()
            changes.append(f"{path.stem}: deleted, because it has no case")
    return changes
