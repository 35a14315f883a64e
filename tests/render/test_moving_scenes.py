"""Scenes that move: each view is rendered as the scene is at its time, in any order, with gradients."""

from __future__ import annotations

from dataclasses import replace

import torch

from diffrender.geometry.primitives import icosphere
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.motion import Motion
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import scene_at
from diffrender.scene.scene import Scene

BALL = icosphere(2)
TIMES = torch.arange(3, dtype=torch.float64)
SEEN = [2, 0, 1, 0]


def moving(poses: torch.Tensor) -> Scene:
    ball = Object(Mesh(BALL.vertices * 0.4, BALL.faces), Unlit(torch.tensor([0.9, 0.4, 0.1])))
    return replace(Scene({"ball": ball}), motion=Motion(TIMES, {"objects.ball.pose": poses}))


def poses() -> torch.Tensor:
    found = torch.eye(4).repeat(3, 1, 1)
    found[:, 0, 3] = torch.tensor([-0.5, 0.1, 0.6])
    return found


def cameras() -> Cameras:
    plain = Cameras.perspective(
        torch.tensor([[0.0, 0.0, 3.0], [0.5, 0.0, 3.0], [0.0, 1.0, 3.0], [0.0, 0.0, 2.5]]), height=24, width=32
    )
    return replace(plain, time=TIMES[SEEN])


def test_each_view_shows_its_time() -> None:
    scene, seen = moving(poses()), cameras()
    output = render(scene, seen)
    for view, row in enumerate(SEEN):
        alone = render(scene_at(scene, row), seen.select([view]))
        assert torch.equal(output.rgba[view], alone.rgba[0])
        assert torch.equal(output.face_id[view], alone.face_id[0])
        assert torch.equal(output.depth[view], alone.depth[0])
    fine = render_supersampled(scene, seen, 2)
    assert torch.equal(fine[1], render_supersampled(scene_at(scene, 0), seen.select([1]), 2)[0])


def test_cameras_without_time_see_the_first() -> None:
    scene, seen = moving(poses()), replace(cameras(), time=None)
    assert torch.equal(render(scene, seen).rgba, render(scene_at(scene, 0), seen).rgba)


def test_gradients_reach_the_values_of_the_times_that_are_seen() -> None:
    learned = poses().requires_grad_()
    render(moving(learned), cameras().select([0, 1])).rgba[..., 3].sum().backward()
    assert learned.grad is not None
    assert float(learned.grad[1].abs().max()) == 0
    alone = poses().requires_grad_()
    scene = moving(alone)
    render(scene_at(scene, 2), cameras().select([0])).rgba[..., 3].sum().backward()
    assert alone.grad is not None
    assert torch.equal(learned.grad[2], alone.grad[2]) and float(alone.grad[2].abs().max()) > 1


def test_masks_of_the_blur_are_those_of_their_views_in_a_scene_that_moves() -> None:
    sigma, places = torch.tensor(0.9, requires_grad=True), poses().requires_grad_()
    seen = replace(cameras(), blur_px=sigma)
    mask = torch.zeros(len(seen), seen.height, seen.width, dtype=torch.bool)
    mask[1] = True
    image = render(moving(places), seen.with_blur_mask(mask)).rgba
    (found,) = torch.autograd.grad(image.square().sum(), sigma)
    (alone,) = torch.autograd.grad(render(moving(places), seen.select([1])).rgba.square().sum(), sigma)
    torch.testing.assert_close(found, alone)
    assert float(alone.abs()) > 0
