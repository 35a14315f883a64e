import math

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.orbits import sphere_positions

CENTER = torch.tensor([1.0, 2.0, 3.0])


def test_sphere_positions_are_on_the_sphere_within_the_band():
    places = sphere_positions(50, 4.0, CENTER, -20, 60) - CENTER
    torch.testing.assert_close(places.norm(dim=1), torch.full((50,), 4.0))
    elevation = torch.rad2deg(torch.asin(places[:, 1] / 4))
    assert elevation.min() > -20 and elevation.max() < 60
    assert elevation.min() < -17 and elevation.max() > 55, "the band is not filled"


@pytest.mark.parametrize("n", [8, 24, 100])
def test_sphere_positions_are_spread_evenly(n):
    places = sphere_positions(n)
    nearest = torch.cdist(places, places).fill_diagonal_(9).amin(1)
    # In the densest packing, a hexagonal one, every neighbour is at this distance.
    hexagonal = math.sqrt(8 * math.pi / (math.sqrt(3) * n))
    assert nearest.min() > 0.7 * hexagonal
    assert places.mean(0).norm() < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sphere_positions(0), "n must be at least 1, got 0"),
        (lambda: sphere_positions(3, -1.0), "radius must be positive"),
        (lambda: sphere_positions(3, 1.0, CENTER, 50, 20), "swap"),
        (lambda: sphere_positions(3, 1.0, CENTER, -91, 20), "-90..90"),
    ],
)
def test_invalid_orbits_are_refused(make, message):
    with pytest.raises(ShapeError, match=message):
        make()
