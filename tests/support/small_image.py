"""A small image of a ball as a function of a few numbers, for tests of what calls the renderer."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rigid import make_rigid
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

SIZE = 24
BALL = icosphere(2)


def ball_image(position: Tensor, color: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Return the image [SIZE, SIZE, 4] of a ball at `position` [3] in `color` [3], in their dtype."""
    vertices = BALL.vertices.to(position) * 0.5 * scale
    pose = make_rigid(torch.eye(3).to(position), position)
    cameras = Cameras.perspective(torch.tensor([[0.2, 0.3, 4.0]]).to(position), height=SIZE, width=SIZE)
    scene = Scene({"ball": Object(Mesh(vertices, BALL.faces), Unlit(color), pose)})
    return render(scene, cameras).rgba[0]
