"""Choose which implementation of an op runs: every line of dispatch in the project.

On the CPU the Numba kernels run, on CUDA the Triton kernels, on any other device the plain PyTorch reference;
`backend=` overrides. Nothing falls back silently: what cannot run is a BackendError.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch

from diffrender.derivatives import on_plain_tensors
from diffrender.errors import BackendError

BACKENDS = ("numba", "triton", "reference")
OPS = (
    "transform_points", "rasterize", "silhouettes", "query_visibility", "intersections", "gather_samples",
    "supersample_silhouettes", "changes_across", "barycentrics", "interpolate", "interpolate_at_pixels",
    "mip_pyramid", "screen_uvs", "sample_texture", "smooth_normals", "normalize", "lambert", "ggx", "ggx_lobes",
    "lat_long_uv", "sample_shadow_map", "antialias", "blur", "compare_colors", "total_variation", "collapse_pyramid",
)  # fmt: skip
# The oldest GPUs that the Triton kernels are compiled for in the tests.
LEAST_CAPABILITY = (8, 0)
_MODULES = {"numba": "numba_cpu", "triton": "triton_cuda", "reference": "reference"}
_DEFAULTS = {"cpu": "numba", "cuda": "triton"}


def choose_backend(device: torch.device, backend: str | None = None) -> str:
    """Return the name of the implementation that runs on `device`: `backend` if it can, or the device's own.

    Raises BackendError for an unknown name and for one that cannot run on the device.
    """
    if backend is None:
        backend = _DEFAULTS.get(device.type, "reference")
    elif backend not in BACKENDS:
        raise BackendError(f"backend must be one of {', '.join(BACKENDS)} or None, got {backend!r}")
    if backend == "numba" and device.type != "cpu":
        raise BackendError(f"backend 'numba' runs on the CPU, but the tensors are on {device}; use backend='reference'")
    if backend == "triton":
        _check_triton(device)
    return backend


def implementation(op: str, device: torch.device, backend: str | None = None) -> tuple[str, ModuleType]:
    """Return the chosen backend's name and its module for `op`, loaded when first used."""
    name = choose_backend(device, backend)
    if name == "numba" and find_spec("numba") is None:
        raise BackendError(
            "backend 'numba' needs the package numba; run `pip install numba` or use backend='reference'"
        )
    return name, _load(op, name)


@cache
def _load(op: str, name: str) -> ModuleType:
    with on_plain_tensors():  # also within a transformation of torch.func
        return import_module(f"diffrender.ops.{op}.{_MODULES[name]}")


def backends_by_op(device: torch.device) -> dict[str, str]:
    """Return the implementation that each op uses on `device`, for a run's manifest."""
    return {op: choose_backend(device) for op in OPS}


def _check_triton(device: torch.device) -> None:
    """Raise BackendError where Triton's kernels cannot run: on CUDA, and on the CPU under Triton's interpreter."""
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise BackendError(
            f"backend 'triton' runs on CUDA, but the tensors are on {device}; use backend=None for the device's own "
            "kernels (TRITON_INTERPRET=1 in the environment runs Triton's slowly on the CPU, for tests)"
        )
    if find_spec("triton") is None:
        raise BackendError(
            "backend 'triton' needs the package triton, which comes with PyTorch's builds for CUDA on Linux; "
            "run `pip install triton`, or use backend='reference'"
        )
    if device.type == "cuda" and _capability(device) < LEAST_CAPABILITY:
        found, least = (".".join(map(str, version)) for version in (_capability(device), LEAST_CAPABILITY))
        raise BackendError(
            f"backend 'triton' needs a GPU of compute capability {least} (2020) or newer, but {device} has {found}; "
            "use backend='reference', or the CPU"
        )


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)
