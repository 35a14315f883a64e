"""Small captures with planted mistakes: rendered pictures, written as a folder with transforms.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from diffrender.config.load import load_config
from diffrender.imaging.color import srgb_from_linear
from diffrender.setup.targets import build_targets

SIZE = 40
TARGET = """
targets:
  resolution: 40
  test_every: null
  synthetic:
    views: 10
    mesh: {init: bumpy, subdivisions: 3}
    material: {type: lambert, base_color: own}
    lights:
      - {name: key, type: directional, direction: [-1, -1, -0.6], radiance: 2.2}
      - {name: fill, type: ambient, radiance: 0.35}
    samples: 3
mesh: {init: sphere}
optimize: {steps: 1}
"""


@dataclass
class Capture:
    """Pictures [N, H, W, 4] in 0..255, sRGB with alpha, their camera-to-world matrices, and the intrinsics."""

    pictures: np.ndarray
    poses: np.ndarray
    intrinsics: dict[str, float]

    def scale_intrinsics(self, factor: float) -> None:
        """Make the intrinsics those of images `factor` times as large."""
        self.intrinsics |= {key: factor * self.intrinsics[key] for key in ("cx", "cy", "fl_x", "fl_y")}

    def write(self, folder: Path) -> Path:
        """Write the capture and return its folder."""
        folder.mkdir(parents=True, exist_ok=True)
        frames = []
        for index, (picture, pose) in enumerate(zip(self.pictures, self.poses, strict=True)):
            name = f"view_{index:02d}.png"
            Image.fromarray(picture.round().clip(0, 255).astype(np.uint8)).save(folder / name)
            frames.append({"file_path": name, "transform_matrix": pose.tolist()})
        (folder / "transforms.json").write_text(json.dumps({**self.intrinsics, "frames": frames}))
        return folder


@cache
def _rendered(folder: Path) -> tuple[np.ndarray, np.ndarray, float]:
    scene = folder / "target.yaml"
    scene.write_text(TARGET)
    views = build_targets(load_config(scene)).fit
    alpha = views.masks.numpy()
    color = srgb_from_linear(views.images / views.masks.clamp_min(1e-6)[..., None]).clamp(0, 1).numpy()
    pictures = 255 * np.concatenate([color, alpha[..., None]], -1)
    poses = np.linalg.inv(views.cameras.cam_from_world.double().numpy()) @ np.diag([1.0, -1, -1, 1])
    return pictures, poses, float(views.cameras.focal_px[0, 0])


def capture(folder: Path) -> Capture:
    """Return a sound capture of a coloured, lobed shape from 10 sides; folder: for temporary files."""
    pictures, poses, focal = _rendered(folder)
    intrinsics = {"w": SIZE, "h": SIZE, "fl_x": focal, "fl_y": focal, "cx": SIZE / 2, "cy": SIZE / 2}
    return Capture(pictures.copy(), poses.copy(), intrinsics)
