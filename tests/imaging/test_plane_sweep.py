"""Correlations of pictures through planes: those of a plain definition, and the depths of a known scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample, pad

from diffrender.imaging.plane_sweep import FLAT, REACH, sweep_planes


def windows(image: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """Return the squares around each pixel [H, W, 25] of an image [H, W]."""
    side = 2 * REACH + 1
    return pad(image, (REACH,) * 4, value=value).unfold(0, side, 1).unfold(1, side, 1).flatten(2)


def correlations(mine: np.ndarray, theirs: np.ndarray, pixels: np.ndarray) -> torch.Tensor:
    """Return how squares of `mine` [H, W] and of `theirs` seen at `pixels` [H, W, 2] correlate, by the definition."""
    picture, at = torch.from_numpy(theirs).double(), torch.from_numpy(pixels).double()
    grid = 2 * at / torch.tensor([picture.shape[1], picture.shape[0]]) - 1
    seen = grid_sample(picture[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]
    is_known = windows(torch.ones_like(seen))
    a, b = windows(torch.from_numpy(mine).double()), windows(seen)
    count = is_known.sum(-1)
    mean_a, mean_b = a.sum(-1) / count, b.sum(-1) / count
    both = ((a - mean_a[..., None]) * (b - mean_b[..., None]) * is_known).sum(-1) / count
    spread = [
        ((x - mean[..., None]).square() * is_known).sum(-1) / count + float(FLAT)
        for x, mean in ((a, mean_a), (b, mean_b))
    ]
    return (both / (spread[0] * spread[1]).sqrt()).where((grid.abs() < 1).all(-1), torch.tensor(-1.0).double())


@pytest.mark.parametrize("n_others", [1, 2, 4])
def test_the_best_plane_is_that_of_the_definition(n_others: int) -> None:
    generator = np.random.default_rng(n_others)
    height, width, planes = 13, 17, np.linspace(0.3, 2.0, 7).astype(np.float32)
    mine = generator.random((height, width), np.float32)
    theirs = generator.random((n_others, 15, 11), np.float32)
    row, column = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    ends = np.stack([column, row, np.ones_like(row)], -1) + 0.2 * generator.normal(size=(n_others, height, width, 3))
    epipoles = generator.normal(size=(n_others, 3)) * [6, 6, 0.2]
    best, place = sweep_planes(mine, theirs, ends, epipoles, planes)
    scores = []
    for inverse in planes:
        hom = ends + (inverse - 1) * epipoles[:, None, None]
        pixels = np.where(hom[..., 2:] > 0, hom[..., :2] / hom[..., 2:], -1e6)
        each = torch.stack([correlations(mine, *pair) for pair in zip(theirs, pixels, strict=True)])
        scores.append(each.topk(min(2, n_others), 0).values.mean(0))
    score, plane = torch.stack(scores).max(0)
    # Squares of random numbers with cameras all around: where one is behind a camera its square differs.
    is_before = torch.from_numpy(windows_before(ends, epipoles, planes))
    assert is_before.float().mean() > 0.5
    torch.testing.assert_close(torch.from_numpy(best).double()[is_before], score[is_before], rtol=0, atol=2e-4)
    off = (torch.from_numpy(place) - plane).abs()[is_before & (score > -1)]
    assert float(off.max()) <= 0.5 + 1e-6


def windows_before(ends: np.ndarray, epipoles: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return for which pixels [H, W] all of their squares are before all cameras at all planes."""
    w = ends[..., 2] + (planes[:, None, None, None] - 1) * epipoles[:, 2, None, None]
    behind = torch.from_numpy((w <= 0).any((0, 1))).float()
    return (windows(behind).amax(-1) == 0).numpy()


def test_between_planes_depth_is_found_to_a_part_of_a_plane() -> None:
    """A textured wall, seen by a camera beside: a shift that is between planes."""
    generator = np.random.default_rng(0)
    x = np.arange(60) + 0.5
    waves = sum(np.sin(k * x / 7 + p)[None] * np.sin(k * np.arange(30)[:, None] / 5 + q)
                for k, p, q in generator.random((12, 3)) * 6)  # fmt: skip
    mine = (0.5 + 0.04 * waves).astype(np.float32)
    row, column = np.meshgrid(np.arange(30) + 0.5, x, indexing="ij")
    ends = np.stack([column, row, np.ones_like(row)], -1)[None]
    planes = np.linspace(0.5, 1.5, 11).astype(np.float32)
    # At inverse depth 1.03 the pictures are the same.
    ends[..., 0] -= 0.03 * 8
    best, place = sweep_planes(mine, mine[None], ends, np.array([[8.0, 0, 0]]), planes)
    inner = np.s_[5:-5, 10:-10]
    assert best[inner].min() > 0.9
    assert abs(float(np.median(place[inner])) - 5.3) < 0.1


def test_where_nothing_is_seen_nothing_correlates() -> None:
    mine = np.random.default_rng(0).random((5, 6), np.float32)
    for ends in (np.full((1, 5, 6, 3), -1.0), np.full((1, 5, 6, 3), np.nan), np.full((1, 5, 6, 3), [1e30, 0, 1e-30])):
        best, place = sweep_planes(mine, mine[None], ends, np.zeros((1, 3)), np.linspace(0.5, 1, 3))
        assert (best == -1).all() and ((place >= 0) & (place <= 2)).all()
