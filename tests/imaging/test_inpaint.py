from __future__ import annotations

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.imaging.inpaint import fill_nearest, fill_smooth


def ramp(height: int = 24, width: int = 37) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows / height, columns / width], -1)


def test_fill_nearest_takes_the_nearest_known_pixel() -> None:
    image = torch.tensor([[1.0, 0, 0, 0, 5]])[:, :, None]
    known = torch.tensor([[True, False, False, False, True]])
    assert fill_nearest(image, known)[0, [0, 1, 3, 4], 0].tolist() == [1, 1, 5, 5]
    image, known = ramp(), torch.rand(24, 37, generator=torch.Generator().manual_seed(0)) < 0.1
    filled = fill_nearest(image, known)
    assert torch.equal(filled[known], image[known])
    positions = torch.nonzero(known).float()
    for row, column in ((0, 0), (11, 30), (23, 36)):
        nearest = (positions - torch.tensor([row, column])).norm(dim=1).min()
        found = filled[row, column] * torch.tensor([24, 37])
        assert float((found - torch.tensor([row, column])).norm()) == pytest.approx(float(nearest), abs=1e-4)


def test_fill_smooth_keeps_known_pixels_and_stays_within_their_range() -> None:
    image, known = ramp(), torch.rand(24, 37, generator=torch.Generator().manual_seed(1)) < 0.2
    filled = fill_smooth(torch.where(known[:, :, None], image, 1e6), known)
    assert torch.equal(filled[known], image[known])
    assert filled.min() >= image[known].min() and filled.max() <= image[known].max()
    assert float((filled - image).abs().max()) < 0.15  # a ramp from 0 to 1, a fifth of which is known
    steps = (filled[:, 1:] - filled[:, :-1]).abs().amax(-1)
    assert float(steps.max()) < 0.2


def test_a_hole_in_a_constant_image_becomes_constant() -> None:
    known = torch.ones(33, 20, dtype=torch.bool)
    known[5:30, 3:15] = False
    for fill in (fill_nearest, fill_smooth):
        filled = fill(torch.where(known[:, :, None], 0.3, 7.0).expand(33, 20, 3), known)
        torch.testing.assert_close(filled, torch.full((33, 20, 3), 0.3))


def test_images_without_known_pixels_are_unchanged_and_mistakes_are_named() -> None:
    image = ramp()
    for fill in (fill_nearest, fill_smooth):
        assert fill(image, torch.zeros(24, 37, dtype=torch.bool)) is image
        with pytest.raises(ShapeError, match=r"known must have shape \[24, 37\]"):
            fill(image, torch.zeros(24, 36, dtype=torch.bool))
