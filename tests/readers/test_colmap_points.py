"""The points of COLMAP models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.any_capture import read
from support.colmap_files import IMAGES, WRITERS, write_capture, write_points

from diffrender.readers.captures import colmap_points

POINTS = np.random.default_rng(0).normal(size=(150, 3))
SUFFIX = {"text": ".txt", "binary": ".bin"}


@pytest.mark.parametrize("kind", WRITERS)
def test_points_of_a_model_are_those_of_its_world(tmp_path: Path, kind: str) -> None:
    folder = write_capture(tmp_path, kind)
    assert read(folder).points is None
    write_points(folder / "sparse" / "0", kind, POINTS.tolist())
    capture = read(folder)
    torch.testing.assert_close(capture.points, torch.from_numpy(POINTS).float())
    assert capture.notes == ()
    far = [7e5, -2e6, 100.0]
    images = tuple((n, r, tuple((np.array(t) - rotated(r, far)).tolist()), *rest) for n, r, t, *rest in IMAGES)
    folder = write_capture(tmp_path / "far", kind, images=images)
    write_points(folder / "sparse" / "0", kind, (POINTS + far).tolist())
    moved = read(folder)
    assert any(moved.origin)
    in_world = moved.points.double() + torch.tensor(moved.origin, dtype=torch.float64)
    torch.testing.assert_close(in_world, torch.from_numpy(POINTS + far), atol=1e-5, rtol=0)


def rotated(quaternion: tuple[float, ...], point: list[float]) -> np.ndarray:
    w, *axis = np.array(quaternion) / np.linalg.norm(quaternion)
    twice = 2 * np.cross(axis, point)
    return np.array(point) + w * twice + np.cross(axis, twice)


@pytest.mark.parametrize("kind", WRITERS)
def test_points_of_few_pictures_are_used_only_if_hardly_any_others_are_there(tmp_path: Path, kind: str) -> None:
    for count, n_seen, expected in ((150, 2, 150), (150, 0, 150), (20, 3, 20), (0, 3, None)):
        write_points(tmp_path, kind, POINTS[:count].tolist(), n_seen)
        points, notes = colmap_points.read_points(tmp_path, SUFFIX[kind])
        assert (None if points is None else len(points)) == expected and notes == []
    # The end of one file, of sure points, behind the other.
    write_points(tmp_path, "text", POINTS[:30].tolist(), 2)
    doubtful = (tmp_path / "points3D.txt").read_text()
    write_points(tmp_path, "text", POINTS.tolist(), 3)
    (tmp_path / "points3D.txt").write_text(doubtful + (tmp_path / "points3D.txt").read_text())
    points, _ = colmap_points.read_points(tmp_path, ".txt")
    assert points is not None
    np.testing.assert_array_equal(points, POINTS)


@pytest.mark.parametrize("kind", WRITERS)
def test_more_points_than_are_needed_are_thinned(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colmap_points, "MOST", 40)
    write_points(tmp_path, kind, POINTS.tolist())
    points, _ = colmap_points.read_points(tmp_path, SUFFIX[kind])
    np.testing.assert_array_equal(points, POINTS[::4])


def test_of_damaged_files_the_points_before_the_damage_are_used_and_it_is_told(tmp_path: Path) -> None:
    model = write_capture(tmp_path) / "sparse" / "0"
    write_points(model, "binary", POINTS.tolist())
    file = model / "points3D.bin"
    file.write_bytes(file.read_bytes()[: 8 + 75 * 7 + 20])
    capture = read(tmp_path)
    assert capture.points is not None and len(capture.points) == 7
    assert capture.notes == ("its points3D.bin ends within point 8 of 150; the points before that are used",)
    file.write_bytes(b"12")
    assert read(tmp_path).notes == ("its points3D.bin is empty; the points before that are used",)
    write_points(model, "text", [*POINTS[:3].tolist(), (np.nan, 0, 0), (0, 1e31, 0)])
    text = (model / "points3D.txt").read_text() + "5 one two\n"
    (model / "points3D.txt").write_text(text)
    points, notes = colmap_points.read_points(model, ".txt")
    assert points is not None
    np.testing.assert_array_equal(points, POINTS[:3])
    assert notes == ["its points3D.txt is damaged at line 7; the points before that are used"]
