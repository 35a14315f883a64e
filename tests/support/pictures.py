"""Comparison of images, which writes pictures of those that differ too much."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.imaging.metrics import psnr_db
from diffrender.writers.images.png import encode_srgb8, write_encoded_png

# One folder per failing test, overwritten when it fails again.
FAILURES = Path(__file__).parents[2] / "outputs" / "test_failures"


def as_picture(image: Tensor) -> np.ndarray:
    """Return uint8 sRGB [H', W', 3] of linear images [(N,) H, W, 1, 3 or 4].

    Views are below one another; coverage, a fourth channel, is to the right of the colour.
    """
    image = image.detach().cpu().float().reshape(-1, *image.shape[-2:])
    if image.shape[-1] != 4:
        return encode_srgb8(image.expand(-1, -1, 3))
    rgba = encode_srgb8(image)
    return np.concatenate([rgba[..., :3], rgba[..., 3:].repeat(3, -1)], 1)


def write_failure(**pictures: np.ndarray) -> Path:
    """Write each picture under its name, in the folder of the running test below FAILURES; return that folder."""
    test = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]
    folder = FAILURES / re.sub(r"[^\w.-]+", "_", test.removeprefix("tests/"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        write_encoded_png(folder / f"{name}.png", pixels)
    return folder


def assert_images_agree(
    got: Tensor,
    expected: Tensor,
    *,
    error_at_most: float | None = None,
    rms_at_most: float | None = None,
    psnr_at_least: float | None = None,
) -> None:
    """Fail unless linear images [(N,) H, W, C] agree within the given bounds; on failure, write pictures to look at.

    error_at_most: of any value. rms_at_most: over all values. psnr_at_least: in dB, of the colours of each view.
    """
    assert (error_at_most, rms_at_most, psnr_at_least) != (None, None, None), "no bound is given"
    assert got.shape == expected.shape, f"image shape must be {list(expected.shape)}, got {list(got.shape)}"
    got, expected = got.detach().double(), expected.detach().double()
    difference = (got - expected).abs()
    largest, rms = float(difference.max()), float(difference.square().mean().sqrt())
    # `not ... <=`: NaN exceeds every bound.
    wrong = []
    if error_at_most is not None and not largest <= error_at_most:
        wrong.append(f"the largest error must be at most {error_at_most:g}, got {largest:.3g}")
    if rms_at_most is not None and not rms <= rms_at_most:
        wrong.append(f"the RMS error must be at most {rms_at_most:g}, got {rms:.3g}")
    if psnr_at_least is not None:
        psnr = float(psnr_db(got[..., :3], expected[..., :3]).min())
        if not psnr >= psnr_at_least:
            wrong.append(f"the PSNR must be at least {psnr_at_least:g} dB, got {psnr:.2f} dB")
    if wrong:
        shown = difference.nan_to_num(nan=torch.inf) / max(float(difference.nan_to_num().max()), 1e-30)
        folder = write_failure(got=as_picture(got), expected=as_picture(expected), difference=as_picture(shown))
        raise AssertionError(f"{'; '.join(wrong)}; expected.png, got.png and difference.png are in {folder}")
