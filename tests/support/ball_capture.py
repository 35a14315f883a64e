"""A capture of a bumpy ball before a gray backdrop, as files, and the fit of it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from diffrender.config.load import parse_config
from diffrender.geometry.primitives import bumpy_sphere
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import write_png

GRAY = 0.3
HOOP = Mesh(*bumpy_sphere(3))


def views(size: int = 64, count: int = 8, noise: float = 0.0) -> tuple[Views, torch.Tensor]:
    """Return pictures of a ball before a gray backdrop, and its true masks."""
    angles = torch.arange(count) * 2 * torch.pi / count
    eyes = torch.stack([4 * angles.cos(), torch.linspace(-1, 2, count), 4 * angles.sin()], 1)
    cameras = Cameras.perspective(eyes, fov_deg=40, height=size, width=size)
    colors = 0.1 + 0.8 * (HOOP.vertices - HOOP.vertices.amin(0)) / (HOOP.vertices.amax(0) - HOOP.vertices.amin(0))
    found = render(Scene({"a": Object(HOOP, Unlit(colors))}, background=torch.full((3,), GRAY)), cameras)
    images = found.image[..., :3]
    images = images + noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return Views(cameras, images.clamp(0, 1), None, tuple(f"{i}.png" for i in range(count))), found.rgba[..., 3]


def write(folder: Path, size: int = 64, count: int = 8, masked: bool = True) -> None:
    found, masks = views(size, count)
    for i, name in enumerate(found.names):
        write_png(folder / name, found.images[i])
        if masked:
            Image.fromarray((masks[i] * 255).byte().numpy()).save(folder / f"mask_{name}")
    write_transforms(folder / "transforms.json", found.cameras, found.names)
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"] if masked else ():
        frame["mask_path"] = f"mask_{Path(frame['file_path']).name}"
    (folder / "transforms.json").write_text(json.dumps(content))


def built(folder: Path, text: str = "") -> FitSetup:
    targets = "" if "targets:" in text else "targets: {path: .}\n"
    return build_fit(parse_config(targets + text, folder))
