from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a scene file, with a capture without frames and an empty mesh file."""
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "transforms.json").write_text(json.dumps({"frames": []}))
    (tmp_path / "spot.obj").write_text("")
    return tmp_path
