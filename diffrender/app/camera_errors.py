"""How far the cameras of a fit are from those that took its targets, where these are known."""

from __future__ import annotations

from typing import Any

import torch

from diffrender.config.options.parameters import GEOMETRY_OF_CAMERAS
from diffrender.fit.loop import FitResult
from diffrender.geometry.rotations import rotation_angle
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.setup.fit_setup import FitSetup

POSE = "cameras.pose"


def camera_errors(setup: FitSetup, result: FitResult) -> dict[str, dict[str, Any]]:
    """Return the errors of what was learned of cameras, by path: `start` and `found`; {} for photographs.

    Of poses the mean of `turn_deg` and of `position`, of others the largest `off`.
    """
    paths = [path for path in setup.config.optimize.parameters() if path in GEOMETRY_OF_CAMERAS]
    true = setup.target_cameras
    if true is None:
        return {}
    return {
        path: {
            when: _error(path, cameras, true)
            for when, cameras in (("start", setup.fit_views.cameras), ("found", result.cameras))
        }
        for path in paths
    }


def describe_camera_error(path: str, error: dict[str, float]) -> str:
    """Return the error of what was found at `path` in words."""
    if path == POSE:
        return f"off by {error['turn_deg']:.2g} degrees and {error['position']:.2g} on average"
    return f"off by {error['off']:.2g}"


def _error(path: str, cameras: Cameras, true: Cameras) -> dict[str, float]:
    cameras, true = cameras.to("cpu"), true.to("cpu")
    if path == POSE:
        rotations = [each.cam_from_world[:, :3, :3].detach().double() for each in (cameras, true)]
        turn = torch.rad2deg(rotation_angle(*rotations)).mean()
        return {
            "turn_deg": _rounded(turn),
            "position": _rounded((cameras.positions_w() - true.positions_w()).norm(dim=1).mean()),
        }
    found, wanted = (_value(path, each) for each in (cameras, true))
    return {"off": _rounded((found - wanted).abs().max())}


def _value(path: str, cameras: Cameras) -> torch.Tensor:
    if path == "cameras.focal":
        return cameras.focal_px
    if path == "cameras.center":
        return cameras.center_px
    # A lens without distortion is one of which it is 0.
    lens = cameras.projection
    is_distorted = isinstance(lens, RadialTangential)
    return getattr(lens, path.removeprefix("cameras.")) if is_distorted else torch.zeros(len(cameras))


def _rounded(value: torch.Tensor) -> float:
    return float(f"{float(value):.4g}")
