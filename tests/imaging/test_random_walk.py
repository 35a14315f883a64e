"""Random walks between seeds: stopped by edges, exact where they can be counted."""

from __future__ import annotations

import numpy as np

from diffrender.imaging.random_walk import random_walk


def seeds(shape: tuple[int, int], *pixels: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape, bool)
    for pixel in pixels:
        found[pixel] = True
    return found


def test_in_a_line_of_one_colour_shares_fall_evenly() -> None:
    shape = (1, 6)
    share = random_walk(np.full((*shape, 3), 0.3), seeds(shape, (0, 0)), seeds(shape, (0, 5)))
    np.testing.assert_allclose(share, np.linspace(1, 0, 6)[None], atol=1e-6)


def test_an_edge_divides_what_lies_between_seeds() -> None:
    random = np.random.default_rng(0)
    true = np.zeros((40, 50), bool)
    true[8:33, 11:36] = True
    image = np.where(true[..., None], [0.8, 0.3, 0.2], [0.2, 0.4, 0.5]) + 0.03 * random.standard_normal((40, 50, 3))
    inside, ground = seeds(true.shape, (20, 20)), seeds(true.shape, (0, 0), (39, 49))
    np.testing.assert_array_equal(random_walk(image, inside, ground) > 0.5, true)


def test_seeds_stay_and_the_ground_wins_where_both_are() -> None:
    random = np.random.default_rng(1)
    inside, ground = random.random((12, 9)) < 0.3, random.random((12, 9)) < 0.3
    share = random_walk(random.random((12, 9, 3)), inside, ground)
    assert (share[ground] == 0).all() and (share[inside & ~ground] == 1).all()
    assert (share >= 0).all() and (share <= 1).all()


def test_without_seeds_of_one_kind_all_is_of_the_other() -> None:
    image, none, one = np.random.default_rng(2).random((5, 6, 3)), seeds((5, 6)), seeds((5, 6), (2, 2))
    np.testing.assert_allclose(random_walk(image, one, none), 1, atol=1e-4)
    assert (random_walk(image, none, one) == 0).all() and (random_walk(image, none, none) == 0).all()
