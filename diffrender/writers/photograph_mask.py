"""The mask of a photograph, from that of what the photograph is without its distortion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffrender.imaging.lens_distortion import LensDistortion
from diffrender.scene.target_views import ViewFiles

# Newton's steps, the largest in units of the image plane, and the step of differences.
STEPS, LONGEST, SMALL = 30, 0.3, 1e-6


def mask_of_photograph(mask: Tensor, files: ViewFiles) -> Tensor:
    """Return the mask [h, w] of a photograph, in any size of its shape, given that of the fitted picture, [h, w].

    0 where the picture does not show what the photograph does.
    """
    if files.lens is None:
        return mask
    height, width = mask.shape
    lens, scale = files.lens, np.array([files.width / width, files.height / height])
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    photographed = (np.stack([x, y], -1).reshape(-1, 2) * scale - lens.center_px) / lens.focal_px
    pixels = (_undistorted(lens.distortion, photographed) * lens.focal_px + lens.center_px) / scale
    # From -1 to 1, beyond which all is 0; what is no number is beyond.
    grid = np.nan_to_num(pixels / [width, height] * 2 - 1, nan=2.0)
    sampled = torch.nn.functional.grid_sample(
        mask[None, None].double(), torch.from_numpy(grid).reshape(1, height, width, 2), align_corners=False
    )
    return sampled[0, 0].to(mask.dtype)


def _undistorted(distortion: LensDistortion, photographed: np.ndarray) -> np.ndarray:
    """Return the points of the image plane [P, 2] that a lens images at `photographed`; NaN where none is found."""
    points = photographed.copy()

    def bent(at: np.ndarray) -> np.ndarray:
        return np.stack(distortion.distort(*at.T), 1)

    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            away = bent(points) - photographed
            by_x, by_y = ((bent(points + side) - bent(points - side)) / (2 * SMALL) for side in SMALL * np.eye(2))
            determinant = by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]
            step = np.stack(
                [
                    away[:, 0] * by_y[:, 1] - away[:, 1] * by_y[:, 0],
                    away[:, 1] * by_x[:, 0] - away[:, 0] * by_x[:, 1],
                ],
                1,
            ) / determinant[:, None]  # fmt: skip
            length = np.linalg.norm(step, axis=1, keepdims=True)
            points = points - step * np.minimum(1, LONGEST / length.clip(1e-300))
        is_found = np.linalg.norm(bent(points) - photographed, axis=1) < 1e-6
        is_found &= np.linalg.norm(points, axis=1) <= distortion.largest_radius()
    return np.where(is_found[:, None], points, np.nan)
