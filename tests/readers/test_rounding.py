"""Coordinates of maps that lost their digits before they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffrender.geometry.primitives import icosphere
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.readers.rounding import doubt_rounding

UTM = np.array([500_000.37, 4_649_776.21, 130.4])
BALL = icosphere(4)
FACES = BALL.faces.numpy()
POINTS = 10 * BALL.vertices.double().numpy() + UTM

BOX = np.stack(np.meshgrid([500_000.0, 500_010.5], [4_649_776.0, 4_649_800.0], [30.0, 42.5]), -1).reshape(-1, 3)
BOX_FACES = np.array([(0, 1, 2), (1, 3, 2), (4, 6, 5), (5, 6, 7), (0, 4, 1), (1, 4, 5), (2, 3, 6), (3, 7, 6)])


@pytest.mark.parametrize(
    ("points", "steps"),
    [
        (POINTS.astype(np.float32).astype(np.float64), "x of 0.03125, y of 0.5; 0.03 of its size"),
        (np.array([[float(f"{x:.7g}") for x in row] for row in POINTS]), "x of 0.1, y of 1; 0.05 of its size"),
        (np.array([[float(f"{x:.6g}") for x in row] for row in POINTS]), "x of 1, y of 10; 0.5 of its size"),
        (POINTS.round(3), None),
        (POINTS, None),
        (POINTS - UTM, None),
        ((POINTS - UTM).astype(np.float32).astype(np.float64), None),
        (100 * (POINTS - UTM) + UTM.round(), None),
        (BOX, None),  # as drawn: too few values to tell
        (POINTS[:4].astype(np.float32).astype(np.float64), None),  # too few points
    ],
)
def test_rounded_points_are_told_and_others_are_not(points: np.ndarray, steps: str | None) -> None:
    told = doubt_rounding(points, {len(BOX): BOX_FACES, len(POINTS): FACES}.get(len(points)))
    assert (told is None) == (steps is None)
    assert steps is None or (told is not None and f"({steps})" in told)


@pytest.mark.parametrize("points", [np.full((9, 3), 1e300), np.diag([1e300, 1e40, 1e-320]) @ np.ones((3, 9))])
def test_numbers_beyond_float32_are_no_reason_to_fail(points: np.ndarray) -> None:
    assert doubt_rounding(points.reshape(-1, 3)) is None


@pytest.mark.parametrize("post", [1.0, 30.0])
def test_a_grid_of_heights_has_its_own_step(post: float) -> None:
    i, j = np.mgrid[:12, :12]
    heights = np.random.default_rng(0).uniform(100, 120, i.size).round(2)
    points = np.stack([500_000 + post * i.reshape(-1), 4_649_780 + post * j.reshape(-1), heights], 1)
    corner = (12 * i + j)[:-1, :-1].reshape(-1, 1)
    faces = np.concatenate([np.add(corner, [0, 12, 13]), np.add(corner, [0, 13, 1])])
    assert doubt_rounding(points, faces) is None
    assert doubt_rounding(points) is not None  # as points alone they may be either


def test_the_person_is_told_of_a_mesh(tmp_path: Path) -> None:
    rows = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in POINTS]
    (tmp_path / "a.obj").write_text("\n".join([*rows, *("f {} {} {}".format(*face) for face in FACES + 1)]))
    told, far = read_mesh(tmp_path / "a.obj").notes
    assert told.startswith("its coordinates are multiples of a coarse step (x of 0.1, y of 1;") and "float64" in far
    # An origin that is subtracted does not bring them back.
    assert read_mesh(tmp_path / "a.obj", origin=tuple(UTM)).notes == (told,)
