"""A small scene file without objects, and its setup: a few pictures of a bumpy sphere as targets."""

from __future__ import annotations

from pathlib import Path

from diffrender.config.load import parse_config
from diffrender.setup.fit_setup import build_fit

TARGETS = """
targets:
  resolution: 24
  synthetic: {mesh: {init: bumpy, subdivisions: 2}, views: 9, samples: 2, background: [0, 0, 0.5]}
"""


def built(text: str, folder: Path = Path()):
    return build_fit(parse_config(TARGETS + text, folder))
