"""The lens of a photograph, for a camera that was fitted to what the photograph is without its distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import torch

from diffrender.imaging.lens_distortion import BrownConrady, LensDistortion, ThinPrismFisheye
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import PhotographLens, ViewFiles

# In pixels of the picture that was fitted: what rounding makes of a camera that was not learned, and how far a lens may
# be from what was learned about it.
SAME, NEAR = 1e-3, 0.05
# Points along each side of a picture at which lenses are compared, and Newton's steps.
SIDE, STEPS = 24, 10
# Kinds that come near to most lenses, and the coefficients of theirs that do not compensate each other.
WIDE: tuple[tuple[type[LensDistortion], tuple[str, ...]], ...] = (
    (BrownConrady, ("k1", "k2", "p1", "p2", "k3")),
    (ThinPrismFisheye, ("k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1")),
)


def lens_of_photograph(camera: Cameras, box: tuple[int, int, int, int], files: ViewFiles) -> PhotographLens | None:
    """Return the lens by which one `camera` sees the photograph itself; None if there is none.

    box: (top, left, height, width) of the undistorted photograph in the camera's image.
    It is the lens that was read where the camera still has its intrinsics. Else focal lengths, principal point and
    coefficients are adjusted, by least squares, to the camera's rays, until they are within NEAR of them: those that
    the lens has, or else those of WIDE.
    """
    given = files.lens
    assert given is not None
    top, left, height, width = box
    x, y = torch.meshgrid(*(torch.linspace(0, size, SIDE).double() for size in (width, height)), indexing="xy")
    pixels = torch.stack([x.flatten() + left, y.flatten() + top], -1)
    seen = camera.projection.map(torch.Tensor.double).unproject(
        pixels[None], torch.ones(1, len(pixels), 1).double(), camera.focal_px.double(), camera.center_px.double()
    )
    rays = (seen[0, :, :2] / seen[0, :, 2:]).numpy()
    full = (pixels.numpy() - [left, top]) * [files.width / width, files.height / height]
    plane = (full - given.center_px) / given.focal_px
    photographed = _pixels(given, plane)
    is_shown = (np.hypot(*plane.T) <= given.distortion.largest_radius()) & np.isfinite(photographed).all(1)
    is_shown &= ((photographed >= 0) & (photographed <= [files.width, files.height])).all(1)
    rays, photographed, scale = rays[is_shown], photographed[is_shown], max(width / files.width, height / files.height)
    if scale * _error(given, rays, photographed) < SAME:
        return given
    own = tuple(name for name, value in vars(given.distortion).items() if value)
    for kind, names in ((type(given.distortion), own), *WIDE):
        lens = _adjusted(given, kind, names, rays, photographed)
        is_valid = float(np.hypot(*rays.T).max()) <= lens.distortion.largest_radius()
        if is_valid and scale * _error(lens, rays, photographed) < NEAR:
            return lens
    return None


def lens_entries(lens: PhotographLens) -> dict[str, Any]:
    """Return a lens as a frame of transforms.json states it."""
    (fl_x, fl_y), (cx, cy) = lens.focal_px, lens.center_px
    coefficients = {name: value for name, value in vars(lens.distortion).items() if value}
    model = lens.distortion.camera_model()
    return {"camera_model": model, "fl_x": fl_x, "fl_y": fl_y, "cx": cx, "cy": cy, **coefficients}


def _pixels(lens: PhotographLens, plane: np.ndarray) -> np.ndarray:
    """Return where points [P, 2] of the image plane are in the photograph."""
    with np.errstate(all="ignore"):  # beyond the largest radius
        return np.stack(lens.distortion.distort(*plane.T), 1) * lens.focal_px + lens.center_px


def _error(lens: PhotographLens, rays: np.ndarray, photographed: np.ndarray) -> float:
    """Return the largest distance in pixels, inf if there is none."""
    distance = np.linalg.norm(_pixels(lens, rays) - photographed, axis=1)
    return float(distance.max()) if len(distance) and np.isfinite(distance).all() else np.inf


def _adjusted(
    lens: PhotographLens, kind: type[LensDistortion], names: Sequence[str], rays: np.ndarray, photographed: np.ndarray
) -> PhotographLens:
    """Return a lens of a `kind` that brings `rays` nearest to where they were photographed (Gauss-Newton).

    It begins with `lens` if that is of this kind; names: the coefficients that are free.
    """
    start = lens.distortion if isinstance(lens.distortion, kind) else kind()
    values = np.array([*lens.focal_px, *lens.center_px, *astuple(start)])
    is_free = np.array([True] * 4 + [name in names for name in vars(start)])
    steps = np.diag(np.where(np.arange(len(values)) < 4, 1e-3, 1e-6))[is_free]

    def at(numbers: np.ndarray) -> PhotographLens:
        focal_x, focal_y, center_x, center_y, *coefficients = map(float, numbers)
        return PhotographLens(kind(*coefficients), (focal_x, focal_y), (center_x, center_y))

    for _ in range(STEPS):
        away = (_pixels(at(values), rays) - photographed).ravel()
        ends = [(_pixels(at(values + step), rays), _pixels(at(values - step), rays), step.max()) for step in steps]
        slopes = np.stack([(above - below).ravel() / (2 * size) for above, below, size in ends], 1)
        if not (np.isfinite(slopes).all() and np.isfinite(away).all()):
            break
        values[is_free] -= np.linalg.lstsq(slopes, away, rcond=1e-12)[0]
    return at(values)
