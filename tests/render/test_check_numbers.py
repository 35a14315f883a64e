"""Numbers that a scene is rendered with: of one precision, and none that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Directional
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

VERTICES, FACES = icosphere(2)
BALL = Object(Mesh(VERTICES.float(), FACES), Lambert(torch.tensor([0.9, 0.4, 0.1])))
SUN = {"sun": Directional(torch.tensor([-1.0, -1.0, -0.5]), torch.full((3,), 2.5))}
SCENE = Scene({"ball": BALL}, SUN, torch.full((3,), 0.2))
CAMERA = Cameras.perspective(torch.tensor([[0.0, 0.5, 3.0]]), height=32, width=32)
WIDE_CAMERA = Cameras.perspective(torch.tensor([[0.0, 0.5, 3.0]]).double(), height=32, width=32)
WIDE_BALL = replace(BALL, mesh=Mesh(VERTICES.double() + 0.5, FACES))


@pytest.mark.parametrize(
    ("scene", "cameras"),
    [
        (SCENE, WIDE_CAMERA),
        (replace(SCENE, background=SCENE.background.double()), CAMERA),
        (replace(SCENE, objects={"ball": replace(BALL, pose=torch.eye(4).double())}), CAMERA),
        (replace(SCENE, objects={"ball": BALL, "other": WIDE_BALL}), CAMERA),
    ],
    ids=["cameras", "background", "pose", "one of two meshes"],
)
def test_numbers_of_both_precisions_give_the_image_of_one(scene: Scene, cameras: Cameras) -> None:
    def widened(item: Object) -> Object:
        return replace(item, mesh=item.mesh.with_vertices(item.mesh.vertices.double()), pose=torch.eye(4).double())

    wide = Scene(
        {name: widened(item) for name, item in scene.objects.items()},
        {"sun": Directional(torch.tensor([-1.0, -1.0, -0.5]).double(), torch.full((3,), 2.5).double())},
        SCENE.background.double(),
    )
    expected = render(wide, WIDE_CAMERA).rgba
    torch.testing.assert_close(render(scene, cameras).rgba.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_mesh_is_of_its_own_precision() -> None:
    vertices = VERTICES.float().clone().requires_grad_()
    ball = replace(BALL, mesh=Mesh(vertices, FACES))
    found = [
        torch.autograd.grad(render(replace(SCENE, objects={"ball": ball}), cameras).rgba.sum(), vertices)[0]
        for cameras in (CAMERA, WIDE_CAMERA)
    ]
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_a_vertex_that_is_nan_is_named_unless_no_face_uses_it() -> None:
    broken = VERTICES.float().clone()
    broken[7, 1] = torch.nan
    with pytest.raises(ShapeError, match=r"vertices of object 'ball' must be numbers, got \[.*nan.*\] at index 7 \(1 "):
        render(replace(SCENE, objects={"ball": replace(BALL, mesh=Mesh(broken, FACES))}), CAMERA)
    unused = torch.cat([VERTICES.float(), broken[7:8]])
    image = render(replace(SCENE, objects={"ball": replace(BALL, mesh=Mesh(unused, FACES))}), CAMERA).rgba
    torch.testing.assert_close(image, render(SCENE, CAMERA).rgba)


def test_colors_in_whole_numbers_are_refused_with_the_remedy() -> None:
    with pytest.raises(ShapeError, match=r"base_color must be float32 or float64, got torch\.int64; .* by 255"):
        Unlit(torch.tensor([229, 102, 25]))


def test_colors_of_faces_are_refused_with_the_remedy() -> None:
    with pytest.raises(ShapeError, match=r"got \[320, 3\]; for a value per face give each corner a vertex of its own"):
        render(Scene({"ball": Object(BALL.mesh, Unlit(torch.rand(len(FACES), 3)))}), CAMERA)
