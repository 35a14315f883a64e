"""Images that differ are rejected, and pictures of the difference are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import pictures
from support.goldens import read_golden
from support.pictures import as_picture, assert_images_agree
from torch import Tensor


@pytest.fixture
def failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pictures, "FAILURES", tmp_path)
    return tmp_path


def images() -> Tensor:
    return torch.rand(2, 8, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def with_one_value(value: float) -> Tensor:
    changed = images()
    changed[1, 2, 3, 0] += value
    return changed


def test_equal_images_and_errors_within_the_bounds_pass(failures: Path) -> None:
    assert_images_agree(images(), images(), error_at_most=0, rms_at_most=0, psnr_at_least=300)
    assert_images_agree(with_one_value(0.1), images(), error_at_most=0.11, rms_at_most=0.01, psnr_at_least=40)
    assert not list(failures.iterdir())


@pytest.mark.parametrize("bound", [{"error_at_most": 0.09}, {"rms_at_most": 0.005}, {"psnr_at_least": 42.0}], ids=str)
@pytest.mark.parametrize("value", [0.1, torch.nan, torch.inf])
@pytest.mark.usefixtures("failures")
def test_each_bound_is_checked_by_itself(bound: dict[str, float], value: float) -> None:
    with pytest.raises(AssertionError, match="must be at"):
        assert_images_agree(with_one_value(value), images(), **bound)


@pytest.mark.usefixtures("failures")
def test_other_shapes_and_missing_bounds_are_rejected() -> None:
    with pytest.raises(AssertionError, match=r"shape must be \[2, 8, 6, 4\], got \[2, 8, 6, 3\]"):
        assert_images_agree(images()[..., :3], images(), error_at_most=1)
    with pytest.raises(AssertionError, match="no bound"):
        assert_images_agree(images(), images())


def test_the_message_names_a_folder_of_pictures(failures: Path) -> None:
    with pytest.raises(AssertionError, match="the largest error must be at most 0, got 1e-06;") as caught:
        assert_images_agree(with_one_value(1e-6), images(), error_at_most=0)
    (folder,) = failures.iterdir()
    assert str(folder) in str(caught.value) and "test_the_message_names_a_folder" in folder.name
    assert sorted(file.name for file in folder.iterdir()) == ["difference.png", "expected.png", "got.png"]
    expected = np.zeros((16, 12, 3), np.uint8)
    expected[8 + 2, 3, 0] = 255  # views are below one another, and the largest difference is white
    assert np.array_equal(read_golden(folder / "difference.png"), expected)


def test_a_picture_is_srgb_with_coverage_to_the_right() -> None:
    image = torch.tensor([0.5, 1.0, -1.0, 0.5]).expand(2, 3, 4)
    assert as_picture(image).shape == (2, 6, 3)
    assert as_picture(image)[0, 0].tolist() == [188, 255, 0] and as_picture(image)[1, 5].tolist() == [128] * 3
    assert as_picture(torch.full((1, 2, 3, 1), 0.5)).shape == (2, 3, 3)
