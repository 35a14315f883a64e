from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.clay import BACKGROUND, cover_in_clay
from diffrender.scene.lights.point import Point
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

SPHERE = Mesh(*icosphere(3))
CAMERAS = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0], [2.0, 2.0, -1.0]]), height=32, width=32)


def clay(scene: Scene, cameras: Cameras = CAMERAS) -> torch.Tensor:
    return render(cover_in_clay(scene), cameras).rgba[..., :3]


def test_colours_and_lights_make_no_difference() -> None:
    colors = torch.rand(SPHERE.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    painted = Scene({"ball": Object(SPHERE, Unlit(colors))}, background=torch.ones(3))
    metal = Scene({"ball": Object(SPHERE, Ggx(torch.zeros(3)))}, {"lamp": Point()})
    assert torch.equal(clay(painted), clay(metal))
    assert clay(metal)[0, 0, 0].tolist() == pytest.approx(BACKGROUND)
    assert 0.05 < float(clay(metal)[0].amax()) < 1  # not overexposed


def test_the_light_comes_from_the_upper_left_of_every_camera() -> None:
    scene = Scene({"ball": Object(SPHERE, Unlit())})
    roll = torch.eye(4)
    roll[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.radians(120)]))
    rolled = replace(CAMERAS, cam_from_world=roll @ CAMERAS.cam_from_world)
    for image in torch.cat([clay(scene), clay(scene, rolled)]):
        upper_left, middle, lower_right = image[11, 11, 0], image[16, 16, 0], image[21, 21, 0]
        assert upper_left > 1.1 * middle > 1.5 * lower_right
        # Bumps are seen in the shade, too.
        assert lower_right > image[22, 22, 0] > BACKGROUND[0]
