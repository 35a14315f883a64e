"""Captures of any format: read, or refused with messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffrender.errors import DataError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import Capture, CaptureOptions


def read(path: Path, **options: Any) -> Capture:
    """Read a capture of any format."""
    return read_capture(path, CaptureOptions(**options))


def fails(path: Path, *messages: str, **options: Any) -> None:
    """Assert that it cannot be read, and why."""
    with pytest.raises(DataError) as caught:
        read(path, **options)
    for message in messages:
        assert message in str(caught.value), str(caught.value)
