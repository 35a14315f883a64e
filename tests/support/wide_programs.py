"""In tests Triton's interpreter, which takes its time per operation and not per lane, runs few and wide programs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

# By module: the constants that say how wide its programs are.
WIDE = {
    "diffrender.ops.rasterize.triton_cuda": {"DRAWN": 16384, "SHARING": 64},
    "diffrender.ops.silhouettes.triton_cuda": {"BLOCK": 8192},
    "diffrender.ops.intersections.triton_cuda": {"BLOCK": 65536},
    "diffrender.ops.supersample_silhouettes.triton_cuda": {"BLOCK": 4096},
    "diffrender.ops.supersample_silhouettes.cut_pixels_triton": {"BLOCK": 4096},
    "diffrender.render.edge_models.contacts_triton": {"BLOCK": 4096, "WIDE_BLOCK": 4096},
    "diffrender.ops.query_visibility.triton_cuda": {"POINTS": 4096, "BLOCK": 2048},
    "diffrender.ops.blur.triton_cuda": {"BLOCK": 8192},
    "diffrender.ops.sample_shadow_map.triton_cuda": {"BLOCK": 2048},
}
_NARROW: dict[tuple[str, str], int] = {}


def widen(patch: pytest.MonkeyPatch) -> None:
    """Make the programs wide until the patch is undone."""
    for module, constants in WIDE.items():
        for name, value in constants.items():
            _NARROW.setdefault((module, name), getattr(import_module(module), name))
            patch.setattr(f"{module}.{name}", value)


def narrow_constants(module: str, constants: dict[str, Any]) -> dict[str, Any]:
    """Return the constants of a launch, those that are wide in tests as a GPU gets them."""
    return constants | {name: _NARROW[module, name] for name in WIDE.get(module, {}) if name in constants}
