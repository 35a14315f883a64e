"""Small captures with planted mistakes: rendered pictures, written as a folder with transforms.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import maximum_filter

from diffrender.config.load import load_config
from diffrender.geometry.rotations import axis_angle_to_matrix
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


def invert_masks(c: Capture) -> None:
    c.pictures[..., 3] = 255 - c.pictures[..., 3]


def fill_masks(c: Capture) -> None:
    c.pictures[..., 3] = 255
    c.pictures[:, :1, :1, 3] = 0


def empty_masks(c: Capture) -> None:
    c.pictures[:3, ..., 3] = 0


def blank_but_one_pixel(c: Capture) -> None:
    c.pictures[1:3, ..., 3] = 0
    c.pictures[1:3, 0, 0, 3] = 255


def shuffle_cameras(c: Capture) -> None:
    c.poses = c.poses[np.random.default_rng(0).permutation(len(c.poses))]


def mirror_pictures(c: Capture) -> None:
    c.pictures = c.pictures[:, :, ::-1]


def turn_pictures(c: Capture) -> None:
    c.pictures = np.rot90(c.pictures, axes=(1, 2)).copy()


def swap_one_picture(c: Capture) -> None:
    c.pictures[3] = c.pictures[7]


def double_intrinsics(c: Capture) -> None:
    c.intrinsics = {
        key: 2 * value if key in ("cx", "cy", "fl_x", "fl_y") else value for key, value in c.intrinsics.items()
    }


def halve_intrinsics(c: Capture) -> None:
    c.intrinsics = {
        key: value / 2 if key in ("cx", "cy", "fl_x", "fl_y") else value for key, value in c.intrinsics.items()
    }


def move_principal_point(c: Capture) -> None:
    c.intrinsics |= {"cx": c.intrinsics["w"], "cy": c.intrinsics["h"]}


def take_whole_pixel_centers(c: Capture) -> None:
    c.intrinsics |= {key: c.intrinsics[key] - 0.5 for key in ("cx", "cy")}


def add_half_a_pixel(c: Capture) -> None:
    c.intrinsics |= {key: c.intrinsics[key] + 0.5 for key in ("cx", "cy")}


def take_opencv_axes(c: Capture) -> None:
    c.poses = c.poses @ np.diag([1.0, -1, -1, 1])


def take_world_to_camera(c: Capture) -> None:
    c.poses = np.linalg.inv(c.poses)


def repeat_first_camera(c: Capture) -> None:
    c.poses[:] = c.poses[0]


def blacken_two(c: Capture) -> None:
    c.pictures[1:3, ..., :3] = 0


def overexpose(c: Capture) -> None:
    c.pictures[..., :3] = 255


def paint_background(c: Capture) -> None:
    alpha = c.pictures[..., 3:] / 255
    c.pictures = np.concatenate([c.pictures[..., :3] * alpha + 255 * (1 - alpha), 0 * alpha + 255], -1)


def widen_masks(c: Capture) -> None:
    """By three pixels, before a wall."""
    alpha = c.pictures[..., 3:] / 255
    color = c.pictures[..., :3] * alpha + np.array([60, 110, 190]) * (1 - alpha)
    wide = np.stack([maximum_filter(each, 7) for each in c.pictures[..., 3]])
    c.pictures = np.concatenate([color, wide[..., None]], -1)


def fill_three_masks(c: Capture) -> None:
    c.pictures[[2, 5, 8], ..., 3] = 255


def extend_and_shrink(c: Capture) -> None:
    """Add rows below, so that the principal point is above the middle; intrinsics of images three quarters as large."""
    c.pictures = np.pad(c.pictures, ((0, 0), (0, SIZE // 4), (0, 0), (0, 0)))
    c.intrinsics |= {"h": SIZE + SIZE // 4}
    c.scale_intrinsics(0.75)


def shorten_focal(c: Capture) -> None:
    c.intrinsics |= {key: 0.6 * c.intrinsics[key] for key in ("fl_x", "fl_y")}


def keep_four(c: Capture) -> None:
    c.pictures, c.poses = c.pictures[::3], c.poses[::3]


def keep_two(c: Capture) -> None:
    c.pictures, c.poses = c.pictures[:2], c.poses[:2]


def keep_six(c: Capture) -> None:
    c.pictures, c.poses = c.pictures[:6], c.poses[:6]


def take_pytorch3d_axes(c: Capture) -> None:
    c.poses = c.poses @ np.diag([-1.0, 1, -1, 1])


def take_opencv_world_to_camera(c: Capture) -> None:
    c.poses = np.linalg.inv(c.poses @ np.diag([1.0, -1, -1, 1]))


def transpose_rotations(c: Capture) -> None:
    c.poses[:, :3, :3] = c.poses[:, :3, :3].transpose(0, 2, 1)


def give_world_to_camera_translations(c: Capture) -> None:
    c.poses[:, :3, 3] = np.linalg.inv(c.poses)[:, :3, 3]


def scale_positions(c: Capture) -> None:
    """Give positions in thousandths, beside a box in whole units."""
    c.poses[:, :3, 3] *= 1000
    c.intrinsics["aabb"] = [[-0.8] * 3, [0.8] * 3]


def turn_one_camera(c: Capture) -> None:
    c.poses[3] = [[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]] @ c.poses[3]


def turn_cameras_a_little(c: Capture, degrees: float = 0.7) -> None:
    """Turn each camera about its centre by a random angle of this standard deviation about each axis."""
    turns = torch.from_numpy(np.random.default_rng(0).normal(0, np.radians(degrees), (len(c.poses), 3)))
    c.poses[:, :3, :3] = c.poses[:, :3, :3] @ axis_angle_to_matrix(turns).numpy()


def mirror_one_picture(c: Capture) -> None:
    c.pictures[7] = c.pictures[7][:, ::-1]


def shift_one_picture(c: Capture) -> None:
    c.pictures[7] = np.roll(c.pictures[7], 8, axis=1)


def swap_two_pictures(c: Capture) -> None:
    c.pictures[[2, 6]] = c.pictures[[6, 2]]


def turn_pictures_upside_down(c: Capture) -> None:
    c.pictures = c.pictures[:, ::-1, ::-1]


def shift_order(c: Capture) -> None:
    c.pictures = np.roll(c.pictures, 1, axis=0)


def crop_and_swap_center(c: Capture) -> None:
    """Cut columns off at the left, and give cx for cy and the reverse."""
    c.pictures = c.pictures[:, :, 4:]
    c.intrinsics |= {"w": c.pictures.shape[2], "cx": c.intrinsics["cy"], "cy": c.intrinsics["cx"] - 4}
