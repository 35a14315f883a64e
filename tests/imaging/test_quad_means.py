"""Means over quadrilaterals, against points, against `resize_area`, and against the sum over the image."""

from __future__ import annotations

import numpy as np
import torch

from diffrender.imaging.filters import resize_area
from diffrender.imaging.quad_means import quad_means
from diffrender.threads import threads_to_kernels

IMAGE = np.random.default_rng(0).random((23, 31, 2), dtype=np.float32)


def grid(height, width, to_image):
    """Corners [height + 1, width + 1, 2] of unit squares, moved by `to_image`; all are valid."""
    y, x = np.mgrid[: height + 1, : width + 1].astype(float)
    return np.stack(to_image(x, y), -1), np.ones((height + 1, width + 1), bool)


def test_a_straight_grid_gives_the_area_means():
    means, areas = quad_means(IMAGE, *grid(5, 7, lambda x, y: (x * 31 / 7, y * 23 / 5)))
    expected = resize_area(torch.from_numpy(IMAGE)[None], 5, 7)[0].numpy()
    np.testing.assert_allclose(means, expected, atol=2e-7)
    np.testing.assert_allclose(areas, 31 / 7 * 23 / 5, rtol=1e-12)


def test_each_mean_is_that_of_points_in_the_quadrilateral():
    def skewed(x, y):
        return 3.3 + 6 * x + 1.7 * y, -2.1 + 8.2 * y - 2.6 * x

    corners, valid = grid(3, 4, skewed)
    means, areas = quad_means(IMAGE, corners, valid)
    inner = (np.arange(400) + 0.5) / 400
    for i, j in np.ndindex(3, 4):
        x, y = skewed(*np.meshgrid(j + inner, i + inner))
        inside = (x >= 0) & (x < 31) & (y >= 0) & (y < 23)
        assert abs(areas[i, j, 0] / areas[i, j, 1] - inside.mean()) < 3e-3
        if inside.any():
            points = IMAGE[y[inside].astype(int), x[inside].astype(int)]
            np.testing.assert_allclose(means[i, j], points.mean(0), atol=3e-3)
    assert 0 < (areas[..., 0] < areas[..., 1]).sum() < 12


def test_a_grid_over_the_whole_image_holds_all_of_it():
    turn = 0.7
    corners, valid = grid(
        40, 40, lambda x, y: (15 + np.cos(turn) * (x - 20) * 1.3 - np.sin(turn) * (y - 20) * 1.3,
                              11 + np.sin(turn) * (x - 20) * 1.3 + np.cos(turn) * (y - 20) * 1.3)
    )  # fmt: skip
    means, areas = quad_means(IMAGE, corners, valid)
    np.testing.assert_allclose(areas[..., 0].sum(), 23 * 31, rtol=1e-9)
    np.testing.assert_allclose((means * areas[..., :1]).sum((0, 1)), IMAGE.sum((0, 1)), rtol=1e-5)


def test_mirrored_invalid_and_boundless_quadrilaterals_are_empty():
    corners, valid = grid(2, 3, lambda x, y: (x * 5, y * 5))
    valid[0, 0] = False
    means, areas = quad_means(IMAGE, corners, valid)
    assert areas[0, 0].tolist() == [0, 0] and (areas[..., 1] > 0).sum() == 5
    for empty in (corners[:, ::-1], corners * 1e9):
        means, areas = quad_means(IMAGE, np.ascontiguousarray(empty), np.ones_like(valid))
        assert not areas.any() and not means.any()


def test_threads_do_not_matter():
    corners, valid = grid(400, 300, lambda x, y: (x * 0.1 + 1e-3 * y, y * 0.05 - 1e-3 * x))
    with threads_to_kernels(1):
        expected, _ = quad_means(IMAGE, corners, valid)
    with threads_to_kernels(3):
        assert (quad_means(IMAGE, corners, valid)[0] == expected).all()


def test_corners_that_are_not_finite_are_no_quadrilateral():
    for value in (np.nan, np.inf):
        corners, valid = grid(2, 3, lambda x, y: (x * 5, y * 5))
        corners[0, 0, 1] = value
        means, areas = quad_means(IMAGE, corners, valid)
        assert not areas[0, 0].any() and not means[0, 0].any() and (areas[..., 1] > 0).sum() == 5
