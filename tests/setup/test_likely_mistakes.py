"""When a mistake that was tried out is taken for the true one."""

from __future__ import annotations

import pytest
import torch

from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.setup import likely_mistakes
from diffrender.setup.likely_mistakes import Trial, Tried, try_mistakes


@pytest.mark.parametrize(
    ("as_read", "share", "is_found"),
    [
        (0.2, 0.97, True),
        (0.8, 0.99, True),
        (0.0, 0.8, False),
        (0.85, 0.92, False),
        (0.88, 0.88, False),
        (1.0, 1.0, False),
    ],
)
def test_a_mistake_is_found_if_undoing_it_leaves_little_that_disagrees(
    as_read: float, share: float, is_found: bool
) -> None:
    best = Tried("mirrored", "mirror", share)
    assert Trial(as_read, (best, Tried("turned", "turn", 0.1))).found == (best if is_found else None)


def test_nothing_tried_is_nothing_found() -> None:
    assert Trial(0.2, ()).found is None


def ring(n_views: int) -> Views:
    angles = torch.arange(float(n_views))
    eyes = torch.stack([3 * angles.sin(), torch.ones(n_views), 3 * angles.cos()], 1)
    cameras = Cameras.perspective(eyes, height=8, width=8)
    return Views(cameras, torch.zeros(n_views, 8, 8, 3), torch.zeros(n_views, 8, 8), tuple("abcdef"[:n_views]))


def test_focal_lengths_are_tried_finely_where_no_usual_factor_explains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    views = ring(4)
    true = 1.1 * views.cameras.focal_px[0, 0]

    def share(seen: Views, tolerance: int) -> float:
        off = abs(float(seen.cameras.focal_px[0, 0] / true) - 1)
        return 0.99 if off < 0.02 else 0.5 - 0.1 * off

    monkeypatch.setattr(likely_mistakes, "share_of_outlines", share)
    found = try_mistakes(views, (0.0, 0.0, 0.0)).found
    assert found is not None and found.name == "focal lengths 0.91 times as large as true ones"
    # Close to 1 it does not read as no mistake.
    assert likely_mistakes._of_focal(1 / 1.03).name == "focal lengths 1.03 times as large as true ones"


@pytest.mark.parametrize(("but_for_one", "is_found"), [(0.3, True), (0.996, False)])
def test_one_view_that_disagrees_is_no_mistake_of_all(
    but_for_one: float, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = ring(6)
    # With no view left out nothing explains the rest; with one, any change does. What is read is measured first.
    shares = {0: iter(()), 1: iter([but_for_one])}
    rest = {0: 0.88, 1: 0.9999}
    monkeypatch.setattr(
        likely_mistakes, "share_of_outlines", lambda seen, tolerance: next(shares[tolerance], rest[tolerance])
    )
    assert (try_mistakes(views, (0.0, 0.0, 0.0)).found is not None) == is_found
