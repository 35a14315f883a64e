"""When a mistake that was tried out is taken for the true one."""

from __future__ import annotations

import pytest

from diffrender.setup.likely_mistakes import Trial, Tried


@pytest.mark.parametrize(
    ("as_read", "share", "is_found"),
    [(0.2, 0.97, True), (0.8, 0.99, True), (0.0, 0.8, False), (0.85, 0.92, False), (0.88, 0.88, False)],
)
def test_a_mistake_is_found_if_undoing_it_leaves_little_that_disagrees(
    as_read: float, share: float, is_found: bool
) -> None:
    best = Tried("mirrored", "mirror", share)
    assert Trial(as_read, (best, Tried("turned", "turn", 0.1))).found == (best if is_found else None)


def test_nothing_tried_is_nothing_found() -> None:
    assert Trial(0.2, ()).found is None
