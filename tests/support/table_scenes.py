"""Pictures of a ball on a table, with a sky around, all of random colours."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from diffrender.geometry.primitives import Triangles, bumpy_sphere, icosphere, plane
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import write_png

FLOOR = -0.9


def floor() -> Triangles:
    flat = plane(8, 8, 69, 69)
    return Triangles(flat.vertices + torch.tensor([0, FLOOR, 0]), flat.faces)


def rough(triangles: Triangles, seed: int, tint: tuple[float, ...] = (0.8, 0.8, 0.8)) -> Object:
    """Return an object whose vertices have random colours."""
    colors = torch.rand(len(triangles.vertices), 3, generator=torch.Generator().manual_seed(seed))
    return Object(Mesh(*triangles), Unlit(0.1 + colors * torch.tensor(tint)))


def orbit(count: int = 24, size: int = 96, height: float = 1.6) -> Cameras:
    angles = torch.arange(count) * 2 * torch.pi / count
    rise = height + 0.6 * (torch.arange(count) % 2)
    eyes = torch.stack([3.2 * angles.cos(), rise, 3.2 * angles.sin()], 1)
    return Cameras.perspective(eyes, fov_deg=50, height=size, width=size + 10)


BALL = rough(bumpy_sphere(4), 1, (0.8, 0.4, 0.3))


def table_scene(**objects: Object) -> Scene:
    sky = rough(Triangles(9 * icosphere(4).vertices, icosphere(4).faces.flip(1)), 3)
    return Scene({"floor": rough(floor(), 2), "sky": sky} | objects)


def pictures(scene: Scene, cameras: Cameras) -> Views:
    images = render(scene, cameras).image[..., :3].clamp(0, 1)
    return Views(cameras, images, None, tuple(f"{i}.png" for i in range(len(cameras))))


@cache
def ball_on_a_table() -> Views:
    return pictures(table_scene(ball=BALL), orbit())


def write(folder: Path, scene: Scene, cameras: Cameras) -> None:
    views = pictures(scene, cameras)
    for name, image in zip(views.names, views.images, strict=True):
        write_png(folder / name, image)
    write_transforms(folder / "transforms.json", cameras, views.names)
