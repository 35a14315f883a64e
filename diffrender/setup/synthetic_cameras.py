"""Cameras and noise of synthetic targets: what pictures are taken with, beside what the fit is told of it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.config.options.targets import CameraErrorOptions
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.imaging.color import linear_from_srgb, srgb_from_linear
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.setup.low_discrepancy import low_discrepancy

# Of the axes that poses are turned about, and of the ways that they are moved (setup.low_discrepancy).
AXES, WAYS = (2**0.5, 3**0.5, 5**0.5), (7**0.5, 11**0.5, 13**0.5)


def true_cameras(told: Cameras, options: CameraErrorOptions | None, center: tuple[float, float, float]) -> Cameras:
    """Return the cameras that pictures are taken with, where the fit is told others; None: the same.

    center: what the cameras look at, about which they are turned.
    """
    if options is None:
        return told
    lens = told.projection
    coefficients = (options.k1, options.k2, options.p1, options.p2)
    if any(coefficients):
        lens = RadialTangential(*(torch.full_like(told.focal_px[:, 0], value) for value in coefficients))
    return replace(
        told,
        cam_from_world=_moved(told.cam_from_world, options, center),
        focal_px=options.focal * told.focal_px,
        center_px=told.center_px + told.width * told.center_px.new_tensor(options.center),
        projection=lens,
    )


def _moved(poses: Tensor, options: CameraErrorOptions, center: tuple[float, float, float]) -> Tensor:
    """Return poses [N, 4, 4], cam_from_world, each turned about the point `center` of the world and moved."""
    axes, ways = (
        torch.nn.functional.normalize(torch.stack([low_discrepancy(len(poses), each) for each in which], 1), dim=1)
        for which in (AXES, WAYS)
    )
    middle = poses.new_tensor(center)
    turn = axis_angle_to_matrix(math.radians(options.turn_deg) * axes)
    rotation = poses[:, :3, :3] @ turn
    seen = poses[:, :3, :3] @ middle + poses[:, :3, 3]
    distance = seen.norm(dim=1, keepdim=True)
    return make_rigid(rotation, seen + options.shift * distance * ways - rotation @ middle)


def with_noise(images: Tensor, deviation: float, seed: int) -> Tensor:
    """Return linear images [N, H, W, 3] with Gaussian noise of that deviation added to their sRGB values.

    Values are not cut at 0 and 1: the mean of many draws, in sRGB, is the image without noise.
    """
    if deviation == 0:
        return images
    generator = torch.Generator(images.device).manual_seed(seed)
    drawn = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
    return linear_from_srgb(srgb_from_linear(images) + deviation * drawn)
