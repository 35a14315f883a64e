"""Distortion against values of OpenCV 5.0 (projectPoints, fisheye.distortPoints), COLMAP 4.2; undistortion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffrender.errors import DataError
from diffrender.imaging.filters import resize_area
from diffrender.imaging.lens_distortion import (
    BrownConrady,
    Division,
    FieldOfView,
    Fisheye,
    RadTanThinPrismFisheye,
    ThinPrismFisheye,
)
from diffrender.readers.captures.undistort import note_undistorted, undistort, undistort_loaded

BROWN = BrownConrady(k1=-0.28, k2=0.07, p1=0.002, p2=-0.001, k3=0.01, k4=0.02, k5=-0.03, k6=0.004)
FISHEYE = Fisheye(k1=0.05, k2=-0.02, k3=0.003, k4=-0.0004)
FOCAL = (90.0, 95.0, 52.5, 38.0)  # and the principal point, of photographs of 100 x 80


@pytest.mark.parametrize(
    ("lens", "points", "expected"),
    [
        (BROWN, [(0.3, -0.5), (-0.8, 0.6)],
         [(0.27191284144111816, -0.45307473573519697), (-0.6480631790744468, 0.48729738430583497)]),
        (FISHEYE, [(0.3, -0.5), (-1.8, 2.6)],
         [(0.2749801808364598, -0.4583003013940997), (-0.7474623636105491, 1.0796678585485708)]),
        (FISHEYE, [(0, 0)], [(0, 0)]),
        (ThinPrismFisheye(0.02, -0.01, 0.004, -0.003, 0.002, 0.001, 0.01, -0.02), [(0.3, -0.4), (-0.5, 0.2), (0, 0)],
         [(0.27947713891491077, -0.37406931258876214), (-0.4608600404920172, 0.18112295017038013), (0, 0)]),
        (RadTanThinPrismFisheye(0.02, -0.01, 0.004, -0.003, 0.002, 0.001, 0.005, -0.004, 0.01, -0.02, 0.015, 0.005),
         [(0.3, -0.4), (-0.5, 0.2), (0, 0)],
         [(0.28318830431906067, -0.37188551243502693), (-0.45535925676215555, 0.18614632933299824), (0, 0)]),
        (FieldOfView(0.9), [(-0.5, 0.2), (0, 0)], [(-0.49490781987153454, 0.19796312794861382), (0, 0)]),
        (Division(-0.3), [(0.3, -0.4), (0, 0)], [(0.2803508501982759, -0.37380113359770123), (0, 0)]),
        (Division(0.2), [(-0.5, 0.2)], [(-0.5329478792747164, 0.21317915170988658)]),
    ],
)  # fmt: skip
def test_points_are_where_opencv_and_colmap_have_them(lens, points, expected):
    np.testing.assert_allclose(np.stack(lens.distort(*np.array(points, float).T), 1), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("lens", "radius"),
    [
        (BrownConrady(k1=-0.1), math.sqrt(1 / 0.3)),
        (BrownConrady(k1=0.1), math.inf),
        (BrownConrady(k1=-0.5, k2=0.1), 1.0),  # 1 - 1.5 s + 0.5 s^2
        (BrownConrady(k4=-0.5), math.sqrt(2)),  # where the denominator is 0
        (BrownConrady(k4=0.25), 2.0),  # r / (1 + r^2 / 4) has its maximum there
        (BrownConrady(p1=0.1), math.inf),
        (Fisheye(), math.inf),
        (Fisheye(k1=-0.2), math.tan(math.sqrt(1 / 0.6))),
        (Fisheye(k2=-0.1), math.tan((1 / 0.5) ** (1 / 4))),
        (Fisheye(k3=-0.02), math.tan((1 / 0.14) ** (1 / 6))),
        (Fisheye(k4=-0.01), math.tan((1 / 0.09) ** (1 / 8))),
        (Fisheye(k1=-0.1), math.inf),  # 105 degrees
        (ThinPrismFisheye(k1=-0.2, sx1=0.1), math.tan(math.sqrt(1 / 0.6))),
        (RadTanThinPrismFisheye(k5=-0.01), math.tan((1 / 0.13) ** (1 / 12))),
        (FieldOfView(1.0), math.inf),
        (FieldOfView(4.0), 0.0),  # no field of view
        (Division(-0.1), math.inf),
        (Division(0.25), 1.0),
    ],
)
def test_the_largest_radius_is_where_the_image_folds(lens, radius):
    assert lens.largest_radius() == pytest.approx(radius, rel=1e-9)


def test_a_lens_of_hardly_any_effect_gives_area_means():
    photograph = torch.rand(80, 100, 4, generator=torch.Generator().manual_seed(0))
    for height, width in ((80, 100), (40, 50), (27, 33)):
        result = undistort(photograph, BrownConrady(k1=1e-13), FOCAL, height, width)
        torch.testing.assert_close(result.pixels, resize_area(photograph[None], height, width)[0], atol=3e-7, rtol=0)
        assert bool((result.weights == 1).all()) and result.lost < 1e-9


@pytest.mark.parametrize("lens", [BROWN, FISHEYE, ThinPrismFisheye(0.1, sx1=0.05), FieldOfView(1.0), Division(-0.2)])
@pytest.mark.parametrize("size", [(80, 100), (40, 50)])
def test_each_pixel_shows_what_the_lens_images_there(lens, size):
    def pattern(x, y):
        return 0.5 + 0.4 * np.sin(x / 9 + 0.3) * np.cos(y / 7)

    y, x = np.mgrid[:80, :100] + 0.5
    photograph = torch.from_numpy(pattern(x, y)).float()[..., None]
    result = undistort(photograph, lens, FOCAL, *size)
    i, j = (np.mgrid[: size[0], : size[1]] + 0.5) * (80 / size[0])
    bent_x, bent_y = lens.distort((j - FOCAL[2]) / FOCAL[0], (i - FOCAL[3]) / FOCAL[1])
    expected = pattern(bent_x * FOCAL[0] + FOCAL[2], bent_y * FOCAL[1] + FOCAL[3])
    whole = result.weights.numpy() == 1
    assert whole.mean() > 0.8
    assert abs(result.pixels[..., 0].numpy() - expected)[whole].max() < 6e-3


def test_a_fine_pattern_is_averaged_not_aliased():
    checks = torch.from_numpy((np.indices((400, 500)).sum(0) % 2).astype(np.float32))[..., None]
    result = undistort(checks, BrownConrady(k1=-0.2), (450.0, 450.0, 250.0, 200.0), 40, 50)
    assert float((result.pixels - 0.5).abs().max()) < 0.03


def test_beyond_the_edge_of_the_photograph_nothing_is_known():
    gray, mask = torch.full((80, 100, 3), 0.25), torch.ones(80, 100)
    rgb, mask, weights, lost = undistort_loaded(
        gray, mask, None, BrownConrady(k1=0.3), (90.0, 90.0, 50.0, 40.0), 40, 50, (1, 0, 0)
    )
    assert weights is not None and mask is not None
    corner, middle = (0, 0), (20, 25)
    assert weights[corner] == 0 and weights[middle] == 1 and bool(((weights > 0) & (weights < 1)).any())
    assert rgb[corner].tolist() == [1, 0, 0] and mask[corner] == 0
    assert bool((rgb[weights > 0] == 0.25).all()) and bool((mask[weights > 0] == 1).all())
    assert lost < 1e-9  # all of the photograph is nearer to the middle


def test_means_are_of_what_is_known():
    """About half of the photograph is ignored, and holds garbage."""
    known = torch.ones(80, 100)
    known[:, 52:] = 0
    photograph = torch.full((80, 100, 3), 0.25).where(known[..., None] > 0, torch.nan)
    rgb, mask, weights, _ = undistort_loaded(
        photograph, known.clone(), known, BrownConrady(k1=-0.1), (90.0, 90.0, 50.5, 40.0), 16, 20, (0, 1, 0)
    )
    assert weights is not None and mask is not None
    torch.testing.assert_close(rgb[weights > 0], torch.full((160 + 16, 3), 0.25))
    torch.testing.assert_close(mask, (weights > 0).float())
    assert bool((rgb[weights == 0] == torch.tensor([0.0, 1.0, 0.0])).all())
    assert 0.35 < float(weights[8, 10]) < 0.45 and bool((weights[:, :9] == 1).all())


@pytest.mark.parametrize("k1", [-2.0, -4.0])
def test_beyond_a_fold_nothing_is_known(k1):
    """With -4 the formula images what is far out a second time, turned by 180 degrees."""
    result = undistort(torch.ones(80, 100, 1), BrownConrady(k1=k1), (90.0, 90.0, 50.0, 40.0), 80, 100)
    i, j = np.mgrid[:80, :100] + 0.5
    radius = np.hypot(i - 40, j - 50) / 90
    fold = math.sqrt(-1 / (3 * k1))
    assert not result.weights[radius > fold].any()
    assert bool((result.weights[radius < fold - 1.5 / 90] == 1).all())
    assert result.lost == pytest.approx(1 - math.pi * (90 * fold * 2 / 3) ** 2 / 8000, abs=0.02)


def test_a_lens_that_shows_nothing_is_refused():
    with pytest.raises(DataError, match="shows nothing when it is undistorted"):
        undistort_loaded(torch.ones(8, 8, 3), None, None, BrownConrady(k1=1e9), (9.0, 9.0, 4.0, 4.0), 8, 8, (0, 0, 0))


def test_the_note_says_how_much_is_lost():
    assert note_undistorted([], 2) == []
    assert note_undistorted([0.0, 0.0], 2)[0].endswith("same focal lengths; hardly a pixel is lost")
    assert note_undistorted([0.1, 0.3], 3)[0].endswith("20.0% of their pixels (of one, 30%) are beyond its edges")
