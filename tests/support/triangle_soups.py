"""Random and hand-made triangles for the tests of the ops, as homogeneous pixel coordinates (x w, y w, w, depth)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.rasterize import Raster, rasterize
from diffrender.ops.silhouettes import SilhouetteSegments, silhouettes

# Triton's kernels run on a GPU or, as in these tests, through its interpreter on the CPU.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
CPU_BACKENDS = ("numba", "reference")
BACKENDS = ("numba", "triton", "reference") if INTERPRETED else CPU_BACKENDS
DTYPES = (torch.float32, torch.float64)
HEIGHT, WIDTH = 29, 43  # odd, not square, several tiles
every_backend = pytest.mark.parametrize("backend", BACKENDS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=("float32", "float64"))
# For tests that take long through Triton's interpreter: the same kernels, in float32 only.
every_backend_and_dtype = pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        pytest.param(backend, dtype, id=f"{str(dtype).removeprefix('torch.')}-{backend}")
        for backend in BACKENDS
        for dtype in DTYPES[: 1 if backend == "triton" else 2]
    ],
)
every_soup = pytest.mark.parametrize("kind", ("in_front", "crossing", "parallel", "degenerate"))


def perspective_points(points_c: Tensor, focal_px: float = 25.0) -> Tensor:
    """Return [..., 4] from camera-space points [..., 3], with the principal point at the image centre."""
    x, y, z = points_c.unbind(-1)
    return torch.stack([x * focal_px + WIDTH / 2 * z, y * focal_px + HEIGHT / 2 * z, z, z], -1)


def parallel_points(points_px: Tensor) -> Tensor:
    """Return [..., 4] of an orthographic camera, from (x, y in pixels, depth) [..., 3]."""
    x, y, z = points_px.unbind(-1)
    return torch.stack([x, y, torch.ones_like(x), z], -1)


def soup(
    kind: str, seed: int, *, n_views: int = 2, n_faces: int = 60, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Return (verts_hom [N, V, 4], faces [F, 3]) of triangles that share vertices at random.

    in_front: all beyond the near plane. crossing: around the camera, so that many cross the near plane and the camera.
    parallel: orthographic, some of it too near. degenerate: on a coarse grid of space, with repeated corners, faces
    without area and faces that coincide.
    """
    generator = torch.Generator().manual_seed(1000 * seed + n_faces)
    n_verts = max(3, 2 * n_faces // 3)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    faces = torch.rand(n_faces, n_verts, generator=generator).argsort(1)[:, :3].contiguous()
    if kind == "in_front":
        points = uniform(n_views, n_verts, 3) * torch.tensor([4, 3, 3]) + torch.tensor([-2, -1.5, 0.7])
        return perspective_points(points).to(dtype), faces
    if kind == "crossing":
        points = uniform(n_views, n_verts, 3) * torch.tensor([4, 3, 4]) + torch.tensor([-2, -1.5, -1.2])
        return perspective_points(points).to(dtype), faces
    if kind == "parallel":
        points = uniform(n_views, n_verts, 3) * torch.tensor([WIDTH + 20, HEIGHT + 20, 4]) - torch.tensor([10, 10, 0.5])
        return parallel_points(points).to(dtype), faces
    assert kind == "degenerate"
    points = (uniform(n_views, n_verts, 3) * torch.tensor([6, 5, 4])).floor() - torch.tensor([2.5, 2, 0.5])
    faces = (uniform(n_faces, 3) * n_verts).long()
    faces[n_faces // 2 :] = faces[: n_faces - n_faces // 2].flip(1)
    return perspective_points(points).to(dtype), faces


def raster_of(verts_hom: Tensor, faces: Tensor, backend: str, layers: int = 1, near: float = 0.1) -> Raster:
    """Rasterize at the image size of this module."""
    return rasterize(verts_hom, faces, HEIGHT, WIDTH, near=near, layers=layers, backend=backend)


def segments_of(verts_hom: Tensor, faces: Tensor, backend: str, near: float = 0.1) -> SilhouetteSegments:
    """Find the silhouette segments at the image size of this module."""
    raster = raster_of(verts_hom, faces, backend, near=near)
    topology = Topology(faces)
    return silhouettes(verts_hom, topology, raster.bins.facing, raster.depth[..., 0], near=near, backend=backend)


def seen_points(verts_hom: Tensor, faces: Tensor, n_points: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return (view, face_id, xy_px) of random points in covered pixels, on the face visible at the pixel centre."""
    face_id = raster_of(verts_hom, faces, "numba").face_id[..., 0]
    covered = torch.nonzero(face_id >= 0)
    generator = torch.Generator().manual_seed(seed)
    chosen = covered[torch.randint(len(covered), (n_points,), generator=generator)]
    jitter = torch.rand(n_points, 2, generator=generator, dtype=verts_hom.dtype)
    xy_px = chosen[:, [2, 1]].to(verts_hom.dtype) + jitter
    return chosen[:, 0].contiguous(), face_id[chosen[:, 0], chosen[:, 1], chosen[:, 2]], xy_px


def flatten(value: Any) -> list[Tensor]:
    """Return all tensors in nested tuples and lists; other values are skipped."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in flatten(part)] if isinstance(value, tuple | list) else []


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Fail unless two nested tuples of tensors are bit-identical."""
    a, b = flatten(actual), flatten(expected)
    assert len(a) == len(b)
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        assert x.dtype == y.dtype and x.shape == y.shape, f"tensor {index}: {x.dtype} {x.shape}, {y.dtype} {y.shape}"
        assert torch.equal(x, y), f"tensor {index} differs at {(x != y).nonzero()[0].tolist()}"


def assert_same_for_any_threads(work: Callable[[], Any]) -> None:
    """Fail unless `work` gives the same bits when repeated, also with two and three threads."""
    torch.set_num_threads(1)
    expected = work()
    for n_threads in (1, 2, 3, 2):
        torch.set_num_threads(n_threads)
        assert_same_bits(work(), expected)


def assert_all_finite(value: Any) -> None:
    """Fail if any tensor in nested tuples contains NaN or infinity."""
    for index, tensor in enumerate(flatten(value)):
        assert not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"tensor {index} is not finite"


def strided(tensor: Tensor) -> Tensor:
    """Return a tensor of the same values in memory that is not contiguous."""
    wide = torch.stack([tensor, torch.full_like(tensor, 3)], -1)
    assert not wide[..., 0].is_contiguous() or tensor.numel() <= 1
    return wide[..., 0]
