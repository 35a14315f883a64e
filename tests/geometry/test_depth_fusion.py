"""Depths of pictures fused on a grid: sums as by the definition, on any number of threads."""

from __future__ import annotations

import numpy as np
import torch

from diffrender.geometry.depth_fusion import fuse_depths
from diffrender.scene.cameras import Cameras
from diffrender.threads import threads_to_kernels

CELL, MOST = 0.25, 3.0


def test_sums_are_those_of_the_definition_on_any_number_of_threads() -> None:
    eyes = torch.tensor([[0.5, 1.0, 4.0], [-3.0, 0.3, 2.0], [0.2, 0.1, -0.3]])
    cameras = Cameras.perspective(eyes, fov_deg=50, height=12, width=17)
    generator = torch.Generator().manual_seed(0)
    depth = 2 + 4 * torch.rand(3, 12, 17, generator=generator)
    is_known = torch.rand(3, 12, 17, generator=generator) < 0.7
    axes = [torch.linspace(-1.2, 1.1, n) for n in (5, 7, 9)]
    points = torch.cartesian_prod(*axes)
    pixels = cameras.world_to_pixels(points)
    total, count, near = (np.zeros(len(points)) for _ in range(3))
    for view in range(3):
        for point, (x, y, far) in enumerate(pixels[view].tolist()):
            if not (far > 0 and 0 <= x < 17 and 0 <= y < 12) or not is_known[view, int(y), int(x)]:
                continue
            before = (float(depth[view, int(y), int(x)]) - far) / CELL
            if before > -MOST:
                total[point] += min(before, MOST)
                count[point] += 1
                near[point] += before < MOST
    assert 0 < near.sum() < count.sum() and (count == 0).any()
    center, focal, rows = cameras.center_px, cameras.focal_px, cameras.cam_from_world[:, :3]
    matrices = torch.cat([focal[..., None] * rows[:, :2] + center[..., None] * rows[:, 2:], rows[:, 2:]], 1)
    arrays = matrices.numpy(), depth.numpy(), is_known.numpy()
    results = []
    for n_threads in (1, 3):
        with threads_to_kernels(n_threads):
            results.append(fuse_depths([axis.numpy() for axis in axes], *arrays, CELL, MOST))
    for found, again, true in zip(*results, (total, count, near), strict=True):
        assert found.shape == (5, 7, 9) and np.array_equal(found, again)
        np.testing.assert_allclose(found.reshape(-1), true, rtol=0, atol=1e-4)
