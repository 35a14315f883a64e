"""Polygons cut into triangles."""

from __future__ import annotations

import numpy as np
import pytest

from diffrender.readers.meshes.triangulate import cut_polygons


def fan(corners: np.ndarray) -> list[list[int]]:
    return cut_polygons(corners, np.arange(len(corners)), np.array([len(corners)]))[0].tolist()


def test_a_concave_quad_and_polygons_without_area() -> None:
    arrow = np.array([[0.0, 0, 0], [2, 1, 0], [0, 2, 0], [0.5, 1, 0]])
    for first in range(4):
        corners = np.roll(arrow, first, 0)
        found = corners[np.array(fan(corners))]
        assert np.abs(np.cross(found[:, 1] - found[:, 0], found[:, 2] - found[:, 0])).sum() == pytest.approx(3.0)
    assert fan(np.zeros((5, 3))) == [[0, 1, 2], [0, 2, 3], [0, 3, 4]]
    assert fan(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])) == [[0, 1, 2], [0, 2, 3]]


def test_corners_on_a_straight_border_of_a_concave_polygon_are_used() -> None:
    # Without them, a neighbour that uses them leaves a T-junction.
    corners = np.array([[0.0, 0], [1.5, 0], [3, 0], [3, 3], [2, 3], [2, 1], [1.5, 1], [1, 1], [1, 3], [0, 3]])
    for first in range(10):
        turned = np.roll(corners, first, 0) @ np.array([[0.6, 0.8, 0], [0, 0, 1]])
        triangles = np.array(fan(turned))
        assert np.unique(triangles).tolist() == list(range(10))
        a, b, c = turned[triangles].transpose(1, 0, 2)
        areas = np.cross(b - a, c - a) / 2
        assert np.linalg.norm(areas, axis=1).sum() == pytest.approx(7) == pytest.approx(np.linalg.norm(areas.sum(0)))


def test_polygons_of_many_sizes_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 7, 50)
    corners = rng.permutation(sizes.sum())
    angles = np.concatenate([np.arange(size) * 2 * np.pi / size for size in sizes])
    positions = np.zeros((len(corners), 3))
    positions[corners] = np.stack([np.cos(angles), np.sin(angles), np.repeat(np.arange(50.0), sizes)], 1)
    triangles, owner = cut_polygons(positions, corners, sizes)
    assert (np.diff(owner) >= 0).all() and (np.bincount(owner, minlength=50) == np.maximum(sizes - 2, 0)).all()
    assert (positions[corners[triangles]][:, :, 2] == owner[:, None]).all()
