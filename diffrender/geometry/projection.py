"""From the world to the image: rigid motion and projection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError


def transform_points(matrix: Tensor, points: Tensor) -> Tensor:
    """[N, V, 3]: `points` [V, 3] moved by each of the rigid or affine matrices `matrix` [N, 4, 4] or [N, 3, 4].

    Written as sums of products: a matrix product of the library rounds differently from one number of threads to the
    next, forwards and backwards.
    """
    columns = matrix[:, None, :3, :].unbind(-1)
    x, y, z = points[:, :, None].unbind(1)
    return x * columns[0] + y * columns[1] + z * columns[2] + columns[3]


def project(points_c: Tensor, focal_px: Tensor, center_px: Tensor, orthographic: bool) -> Tensor:
    """Homogeneous pixel coordinates [N, V, 4] = (x w, y w, w, depth) of camera-space points [N, V, 3].

    The pixel coordinates are (x w) / w and (y w) / w. For perspective w is the camera depth (Hartley & Zisserman,
    Multiple View Geometry, eq. 6.5), for orthographic cameras w is 1. Undivided coordinates are linear along straight
    lines of space even across the camera plane, so a triangle that passes the camera needs no explicit clipping
    (Olano & Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, 1997).

    focal_px: [N, 2] pixels, or pixels per world unit when orthographic; center_px: [N, 2] pixels.
    """
    xy, depth = points_c[..., :2], points_c[..., 2:3]
    w = torch.ones_like(depth) if orthographic else depth
    return torch.cat([xy * focal_px[:, None, :] + center_px[:, None, :] * w, w, depth], -1)


def look_at(eye: Tensor, target: Tensor | Sequence[float], up: Tensor | Sequence[float]) -> Tensor:
    """cam_from_world [N, 4, 4] of cameras at `eye` [N, 3] that look at `target` ([3] or [N, 3]) with `up` upwards.

    Raises ShapeError where the eye is at the target or looks straight along `up`.
    """
    check_shape("look_at", "eye", eye, ("N", 3))
    target = torch.as_tensor(target, dtype=eye.dtype, device=eye.device).expand_as(eye)
    up = torch.as_tensor(up, dtype=eye.dtype, device=eye.device).expand_as(eye)
    forward = target - eye
    right = torch.linalg.cross(forward, up)
    if bool((right.norm(dim=1) <= 1e-6 * forward.norm(dim=1) * up.norm(dim=1)).any()):
        raise ShapeError("look_at: eye must differ from target, and up must not be parallel to the viewing direction")
    forward = torch.nn.functional.normalize(forward, dim=1)
    right = torch.nn.functional.normalize(right, dim=1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], 1)
    cam_from_world = torch.eye(4, dtype=eye.dtype, device=eye.device).repeat(len(eye), 1, 1)
    cam_from_world[:, :3, :3] = rotation
    cam_from_world[:, :3, 3] = -(rotation @ eye[:, :, None])[:, :, 0]
    return cam_from_world
