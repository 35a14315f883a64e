"""A fake renderer of one soft blob, and small scenes for it: all that tests of fit/ need, in milliseconds."""

from __future__ import annotations

import math

import torch

from diffrender.geometry.primitives import icosphere
from diffrender.render.render import RenderOutput
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views


def blob_scene(subdivisions=0):
    triangles = icosphere(subdivisions, 0.5)
    material = MATERIALS["unlit"](base_color=torch.tensor([0.2, 0.5, 0.7]))
    ball = Object(Mesh(triangles.vertices, triangles.faces), material)
    return Scene({"ball": ball}, {"key": LIGHTS["directional"]()}, torch.tensor([0.1, 0.2, 0.3]))


def blob_cameras(n_views=5, height=12, width=15):
    turn = torch.arange(n_views) * (2 * math.pi / n_views)
    eye = torch.stack([3 * turn.cos(), 0.5 + 0 * turn, 3 * turn.sin()], 1)
    return Cameras.perspective(eye, height=height, width=width)


def render_blob(scene, cameras, step=0):
    """Render a Gaussian at the mean vertex, as wide as the object and in its colour; lights have no effect."""
    (item,) = scene.objects.values()
    vertices = item.vertices_w()
    center = vertices.mean(0, keepdim=True)
    spread = (vertices - center).square().sum(1).mean().sqrt()
    x, y, depth = cameras.world_to_pixels(center)[:, 0].unbind(-1)
    row = torch.arange(cameras.height)[None, :, None] + 0.5
    column = torch.arange(cameras.width)[None, None, :] + 0.5
    squared = (column - x[:, None, None]) ** 2 + (row - y[:, None, None]) ** 2
    radius = cameras.focal_px.mean(1) * spread / depth
    alpha = torch.exp(-0.5 * squared / radius[:, None, None] ** 2)[..., None]
    color = item.material.base_color
    rgba = torch.cat([alpha * color + (1 - alpha) * scene.background, alpha], -1)
    return output_of(rgba)


def blob_views(scene, cameras):
    with torch.no_grad():
        rgba = render_blob(scene, cameras).rgba
    return Views(cameras, rgba[..., :3], rgba[..., 3], tuple(f"view_{i:03d}" for i in range(len(cameras))))


def output_of(rgba):
    """What `render` returns for images [N, H, W, 4]."""
    nothing = rgba.new_zeros(rgba.shape[:3])
    return RenderOutput(rgba, ("color",), nothing.long() - 1, nothing, None)
