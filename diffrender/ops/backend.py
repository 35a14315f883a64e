"""Choose which implementation of an op runs: every line of dispatch in the project.

On the CPU the Numba kernels run, on any other device the plain PyTorch reference; `backend=` overrides. Nothing falls
back silently: what cannot run is a BackendError.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch

from diffrender.errors import BackendError

BACKENDS = ("numba", "reference")
OPS = (
    "rasterize", "silhouettes", "query_visibility", "intersections", "gather_samples", "supersample_silhouettes",
    "barycentrics", "interpolate", "interpolate_at_pixels", "mip_pyramid", "screen_uvs", "sample_texture", "normalize",
    "lambert", "ggx", "sample_shadow_map", "antialias", "blur",
)  # fmt: skip
_MODULES = {"numba": "numba_cpu", "reference": "reference"}


def choose_backend(device: torch.device, backend: str | None = None) -> str:
    """Return the name of the implementation that runs on `device`: `backend` if it can, or the device's own.

    Raises BackendError for an unknown name and for one that cannot run on the device.
    """
    if backend is None:
        return "numba" if device.type == "cpu" else "reference"
    if backend not in BACKENDS:
        raise BackendError(f"backend must be one of {', '.join(BACKENDS)} or None, got {backend!r}")
    if backend == "numba" and device.type != "cpu":
        raise BackendError(f"backend 'numba' runs on the CPU, but the tensors are on {device}; use backend='reference'")
    return backend


def implementation(op: str, device: torch.device, backend: str | None = None) -> tuple[str, ModuleType]:
    """Return the chosen backend's name and its module for `op`, loaded when first used."""
    name = choose_backend(device, backend)
    if name == "numba" and find_spec("numba") is None:
        raise BackendError(
            "backend 'numba' needs the package numba; run `pip install numba` or use backend='reference'"
        )
    return name, import_module(f"diffrender.ops.{op}.{_MODULES[name]}")


def backends_by_op(device: torch.device) -> dict[str, str]:
    """Return the implementation that each op uses on `device`, for a run's manifest."""
    return {op: choose_backend(device) for op in OPS}
