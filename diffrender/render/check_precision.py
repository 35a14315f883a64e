"""Warn about scenes so far from the origin that float32 does not resolve them, or nearer than cameras draw."""

from __future__ import annotations

import warnings
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from diffrender.derivatives import without_derivatives
from diffrender.errors import NearPlaneWarning, PrecisionWarning
from diffrender.list_sizes import is_kept
from diffrender.render.scene_triangles import SceneTriangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene

# From here on float32 rounds positions by a fifth of a pixel of a picture of 1000.
FARTHEST = 3000.0
# Share of the vertices in the pictures that may be too near to be drawn, as a floor under the camera is.
MOST_TOO_NEAR = 0.5
# So many vertices tell as well as all.
MOST_VERTICES = 1000
_CHECKED: WeakKeyDictionary[object, tuple[torch.dtype, ...]] = WeakKeyDictionary()


@without_derivatives()
def check_precision(
    scene: Scene, geometry: SceneTriangles, cameras: Cameras, dtype: torch.dtype, backend: str | None = None
) -> None:
    """Warn if most of what is before the cameras is nearer than they draw, or, in float32, far from the origin.

    That is more than FARTHEST widths of the picture. Vertices in the pictures are looked at. Done once per tensor of
    faces, those of the first mesh: it waits for the device, and a fit does not move its scene so far.
    dtype: the narrowest in which places were given (common_dtype.narrowest_dtype).
    """
    identity = next(iter(scene.objects.values())).mesh.topology.identity
    if is_kept() or dtype in _CHECKED.get(identity, ()):
        return
    points_w = geometry.verts_w[:: 1 + len(geometry.verts_w) // MOST_VERTICES]
    x, y, depth = cameras.world_to_pixels(points_w, backend).unbind(-1)
    is_before = (x >= 0) & (x <= cameras.width) & (y >= 0) & (y <= cameras.height) & (depth > 0)
    is_seen = is_before & (depth > cameras.near)
    if not bool(is_before.any()):  # other cameras may tell, unless rounding has moved all out of their pictures
        if dtype == torch.float32 and _warn_of_distance(points_w, depth > cameras.near, cameras, backend):
            _CHECKED[identity] = (*_CHECKED.get(identity, ()), dtype)
        return
    _CHECKED[identity] = (*_CHECKED.get(identity, ()), dtype)
    if float(is_seen.sum()) < (1 - MOST_TOO_NEAR) * float(is_before.sum()):
        warnings.warn(
            f"render: {float(1 - is_seen.sum() / is_before.sum()):.0%} of the vertices in the pictures are nearer than"
            f" the cameras draw, at depths about {float(depth[is_before].median()):.2g} while near is"
            f" {cameras.near:.2g}; give the cameras a smaller near, or the scene a larger unit",
            NearPlaneWarning,
            stacklevel=5,
        )
    if dtype == torch.float32:
        _warn_of_distance(points_w, is_seen, cameras, backend)


def _warn_of_distance(points_w: Tensor, counts: Tensor, cameras: Cameras, backend: str | None) -> bool:
    """Warn if most of the points [P, 3] that count [N, P] are too far away, and return whether they are."""
    width = cameras.pixel_size(points_w, backend) * max(cameras.height, cameras.width)
    distance = points_w.norm(dim=1).expand_as(width)
    if not bool(counts.any()) or not float((distance / width)[counts].median()) > FARTHEST:
        return False
    middle = ", ".join(f"{value:.7g}" for value in points_w.double().mean(0).tolist())
    resolved = torch.finfo(torch.float32).eps * float(distance[counts].median())
    warnings.warn(
        f"render: the scene is around ({middle}), where float32 resolves {resolved:.2g} units of the world, but its"
        f" pictures are only {float(width[counts].median()):.3g} wide; subtract a point near the scene, in float64,"
        " from the positions of vertices, cameras and lights before they become float32 (read_mesh(path, origin=...)"
        " does), or give all tensors as float64",
        PrecisionWarning,
        stacklevel=6,  # the caller of render, through torch.no_grad and on_kernel_threads
    )
    return True
