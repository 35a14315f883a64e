"""What a user sees, pinned: the images in tests/goldens. Changes that are wanted: scripts/update_goldens.py."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import pictures
from support.golden_cases import GOLDENS
from support.goldens import FOLDER, PictureTolerance, assert_like_golden, read_golden, update_goldens

RENDERED = PictureTolerance()


@pytest.mark.parametrize("name", GOLDENS)
def test_images_are_as_they_were(name: str) -> None:
    assert_like_golden(name, GOLDENS[name](), RENDERED)


def test_every_golden_has_a_case_and_all_are_small() -> None:
    files = list(FOLDER.iterdir())
    assert {file.name for file in files} == {f"{name}.png" for name in GOLDENS}
    assert sum(file.stat().st_size for file in files) < 300_000


def checkerboard() -> np.ndarray:
    """[64, 64, 3], squares of eight pixels, 40 and 200."""
    squares = np.add.outer(np.arange(64) // 8, np.arange(64) // 8) % 2
    return np.repeat((40 + 160 * squares)[..., None], 3, -1).astype(np.uint8)


def with_patch(picture: np.ndarray, side: int, levels: int) -> np.ndarray:
    changed = picture.copy()
    changed[20 : 20 + side, 20 : 20 + side] += np.uint8(levels)
    return changed


@pytest.mark.parametrize(
    "changed",
    [
        checkerboard() + np.uint8(1),  # a little brighter everywhere
        with_patch(checkerboard(), 3, 8),  # nine pixels that one can see
        with_patch(checkerboard(), 20, 2),  # a faint stain
        np.roll(checkerboard(), 1, 0),
        checkerboard()[::-1],
        np.zeros((64, 64, 3), np.uint8),
        checkerboard()[:63],
    ],
    ids=["brighter", "spot", "stain", "shifted", "upside down", "black", "smaller"],
)
def test_pictures_that_look_different_are_refused(changed: np.ndarray) -> None:
    assert RENDERED.describe_mismatch(changed, checkerboard())


@pytest.mark.parametrize(
    "changed", [checkerboard(), with_patch(checkerboard(), 2, 55), with_patch(checkerboard(), 8, 2)]
)
def test_a_few_pixels_at_edges_and_rounding_are_forgiven(changed: np.ndarray) -> None:
    assert RENDERED.describe_mismatch(changed, checkerboard()) is None


def test_what_differs_is_left_as_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "FAILURES", tmp_path / "failures")
    Image.fromarray(checkerboard()).save(tmp_path / "board.png")
    with pytest.raises(AssertionError, match=r"difference\.png are in") as caught:
        assert_like_golden("board", with_patch(checkerboard(), 9, 50), RENDERED, tmp_path)
    (folder,) = (tmp_path / "failures").iterdir()
    assert str(folder) in str(caught.value)
    difference = read_golden(folder / "difference.png")
    assert (difference[20:29, 20:29] == 255).all() and difference.sum() == 9 * 9 * 3 * 255
    assert np.array_equal(read_golden(folder / "expected.png"), checkerboard())


def test_updating_writes_what_changed_and_deletes_what_has_no_case(tmp_path: Path) -> None:
    cases = {"board": checkerboard, "black": lambda: np.zeros((4, 4, 3), np.uint8)}
    assert update_goldens(cases, tmp_path) == ["board: new", "black: new"]
    assert update_goldens(cases, tmp_path) == []
    written = os.stat(tmp_path / "black.png").st_mtime_ns
    cases = {"board": lambda: with_patch(checkerboard(), 16, 10), "black": cases["black"]}
    (tmp_path / "old.png").write_bytes((tmp_path / "black.png").read_bytes())
    changes = update_goldens(cases, tmp_path)
    assert changes == [
        "board: 6.25% of the pixels change by up to 10, mean 0.625",
        "old: deleted, because it has no case",
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["black.png", "board.png"]
    assert os.stat(tmp_path / "black.png").st_mtime_ns == written
    assert_like_golden("board", cases["board"](), RENDERED, tmp_path)
