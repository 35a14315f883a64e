"""A fit to photographs with lens distortion, from COLMAP's text files, is as good as one to those of a pinhole."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from support.colmap_files import write_text
from support.small_runs import run_small
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import matrix_to_quaternion
from diffrender.imaging.color import srgb_from_linear
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

SIDE, SCALE, K1 = 128, 3, -0.35
SCENE = """
targets: {path: capture, resolution: 64, test_every: 4}
mesh: {init: sphere, subdivisions: 3}
optimize: {steps: 60, batch_size: null, mesh.vertices: }
"""
# Nothing but the fit.
BARE = ("progress={pictures: 0, video: false, turntable: false}", "export=[]")


def photographs() -> tuple[Cameras, Tensor]:
    """Eight pictures [8, S, S, 4] of a coloured, bent ball that nearly fills them; S is SCALE times SIDE."""
    ball = icosphere(4)
    x, y, z = ball.vertices.unbind(1)
    vertices = ball.vertices * (1 + 0.2 * torch.sin(3 * x) * torch.cos(2 * y + z))[:, None]
    colors = 0.5 + 0.4 * torch.sin(4 * ball.vertices)
    turn = torch.arange(8) * (2 * torch.pi / 8)
    eyes = 3.2 * torch.stack([torch.sin(turn), 0.4 * torch.cos(3 * turn), torch.cos(turn)], 1)
    # The ball is off the middle, to another side in each picture: near the edge the lens bends most.
    aside = 0.7 * torch.stack([torch.cos(turn) * torch.cos(3 * turn), torch.sin(5 * turn), torch.sin(turn)], 1)
    cameras = Cameras.perspective(1.5 * eyes, target=aside, fov_deg=45, height=SIDE * SCALE, width=SIDE * SCALE)
    return cameras, render_supersampled(Scene({"ball": Object(Mesh(vertices, ball.faces), Unlit(colors))}), cameras, 2)


def bent(images: Tensor, focal: float) -> Tensor:
    """What a lens with K1 photographs [8, SIDE, SIDE, 4]: points of the pinhole's pictures, by Newton's method."""
    fine = (torch.arange(SIDE * SCALE) + 0.5) / SCALE - SIDE / 2
    x, y = torch.meshgrid(fine / focal, fine / focal, indexing="xy")
    radius = torch.hypot(x, y)
    straight = radius
    for _ in range(20):
        straight = straight - (straight + K1 * straight**3 - radius) / (1 + 3 * K1 * straight**2)
    grid = torch.stack([x, y], -1) * (straight / radius)[..., None] * (2 * focal / SIDE)
    sampled = torch.nn.functional.grid_sample(images.movedim(-1, 1), grid.expand(8, -1, -1, -1), align_corners=False)
    return torch.nn.functional.avg_pool2d(sampled, SCALE).movedim(1, -1)


def write(folder: Path, cameras: Cameras, images: Tensor, k1: float) -> None:
    focal = float(cameras.focal_px[0, 0]) / SCALE
    (folder / "images").mkdir(parents=True)
    entries = []
    quaternions = matrix_to_quaternion(cameras.cam_from_world[:, :3, :3].double())
    for index, rgba in enumerate(images):
        values = torch.cat([srgb_from_linear(rgba[..., :3] / rgba[..., 3:].clamp_min(1e-6)), rgba[..., 3:]], -1)
        name = f"{index}.png"
        Image.fromarray((values.clamp(0, 1) * 255).round().byte().numpy()).save(folder / "images" / name)
        pose = (tuple(quaternions[index].tolist()), tuple(cameras.cam_from_world[index, :3, 3].tolist()))
        entries.append((index + 1, *pose, 1, name, []))
    camera = (1, "SIMPLE_RADIAL", 2, SIDE, SIDE, (focal, SIDE / 2, SIDE / 2, k1))
    write_text(folder / "sparse" / "0", cameras=(camera,), images=entries)


def test_a_lens_costs_a_fit_nothing(tmp_path: Path) -> None:
    cameras, images = photographs()
    plain = torch.nn.functional.avg_pool2d(images.movedim(-1, 1), SCALE).movedim(1, -1)
    focal = float(cameras.focal_px[0, 0]) / SCALE
    write(tmp_path / "plain" / "capture", cameras, plain, 0.0)
    write(tmp_path / "bent" / "capture", cameras, bent(images, focal), K1)
    write(tmp_path / "ignored" / "capture", cameras, bent(images, focal), 0.0)
    scores = {}
    for name in ("plain", "bent", "ignored"):
        result, _ = run_small(SCENE, tmp_path / name, *BARE)
        scores[name] = result.metrics["heldout"]
    assert scores["plain"]["psnr_db"] > 27
    assert abs(scores["bent"]["psnr_db"] - scores["plain"]["psnr_db"]) < 0.7
    assert abs(scores["bent"]["mask_iou"] - scores["plain"]["mask_iou"]) < 0.005
    # That of a reader that does not undistort.
    assert scores["ignored"]["psnr_db"] < scores["plain"]["psnr_db"] - 4
    assert scores["ignored"]["mask_iou"] < scores["plain"]["mask_iou"] - 0.03
