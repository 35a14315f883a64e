"""What the tests of the ops share: Triton's kernels run through its interpreter, if there is no GPU."""

from __future__ import annotations

import pytest
from support.triangle_soups import INTERPRETED
from support.wide_programs import widen


@pytest.fixture(autouse=INTERPRETED)
def wide_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are as wide as suits the interpreter."""
    widen(monkeypatch)
