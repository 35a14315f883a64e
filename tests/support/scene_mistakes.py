"""What a scene file is told of its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrender.config.load import parse_config
from diffrender.errors import ConfigError

TARGETS = "targets: {path: shots}\n"


def mistakes_in(text: str, folder: Path, *overrides: str) -> list[str]:
    """Return the mistakes of a scene file in `folder`, each as it is told; there must be some."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, folder, "scene.yaml", overrides)
    heading, *mistakes = str(caught.value).split("\n\n")
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    assert heading == f"the scene cannot be used: {count}"
    return mistakes
