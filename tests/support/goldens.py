"""The committed images in tests/goldens: how they are compared, and how they are made again."""

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
    """How far uint8 pictures may be apart.

    levels: what a pixel may differ by, of 255. mean: mean absolute difference in levels.
    outliers: the share of pixels that may differ by more: rounding on another processor moves a sample across an edge.
    """

    levels: int = 2
    outliers: float = 0.001
    mean: float = 0.1

    def objection(self, got: np.ndarray, expected: np.ndarray) -> str | None:
        """Return what is wrong with `got`, or None."""
        if got.shape != expected.shape:
            return f"its size is {got.shape}, wanted {expected.shape}"
        difference = np.abs(got.astype(int) - expected)
        outliers, mean = float((difference.max(-1) > self.levels).mean()), float(difference.mean())
        if outliers <= self.outliers and mean <= self.mean:
            return None
        return (
            f"{outliers:.2%} of the pixels differ by more than {self.levels} levels (at most {self.outliers:.2%} may), "
            f"the mean difference is {mean:.3f} levels (at most {self.mean:g})"
        )


def read_golden(path: Path) -> np.ndarray:
    """Read uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def assert_like_golden(name: str, got: np.ndarray, tolerance: PictureTolerance, folder: Path = FOLDER) -> None:
    """Fail unless the picture is that of `name`.png in `folder`; leave pictures where it is not."""
    expected = read_golden(folder / f"{name}.png")
    objection = tolerance.objection(got, expected)
    if objection is None:
        return
    pictures = {"got": got, "expected": expected}
    if got.shape == expected.shape:
        difference = np.abs(got.astype(int) - expected)
        pictures["difference"] = (255 * difference / difference.max()).astype(np.uint8)
    raise AssertionError(
        f"{name}: {objection}. {', '.join(f'{kind}.png' for kind in pictures)} are in {write_failure(**pictures)}. "
        "If the change is wanted: python scripts/update_goldens.py"
    )


def update_goldens(cases: Mapping[str, Callable[[], np.ndarray]], folder: Path = FOLDER) -> list[str]:
    """Write the pictures that are new or not bit-identical, delete those without a case; return a line per change."""
    changes = []
    for name, render in cases.items():
        path, got = folder / f"{name}.png", render()
        before = read_golden(path) if path.is_file() else None
        if before is not None and before.shape == got.shape:
            difference = np.abs(got.astype(int) - before)
            if not difference.any():
                continue
            share = float(difference.any(-1).mean())
            changes.append(
                f"{name}: {share:.2%} of the pixels, by up to {difference.max()}, mean {difference.mean():.3f}"
            )
        else:
            changes.append(f"{name}: {'new' if before is None else 'of another size'}")
        write_encoded_png(path, got)
    for path in sorted(folder.glob("*.png")):
        if path.stem not in cases:
            path.unlink()
            changes.append(f"{path.stem}: deleted, it has no case")
    return changes
