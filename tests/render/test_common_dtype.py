"""Tensors of several dtypes, as arrays of other programs are, are rendered in one that loses no digit of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.shapes import bumpy, front_camera
from torch import Tensor

from diffrender.errors import PrecisionWarning, ShapeError
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional, SphericalHarmonics
from diffrender.scene.materials import Ggx
from diffrender.scene.motion import Motion
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.scene import Scene

F32, F64 = torch.float32, torch.float64


def lit() -> Scene:
    mesh = bumpy(2)
    lights = {"sky": Ambient(), "sun": Directional(), "harmonics": SphericalHarmonics()}
    return Scene({"ball": Object(mesh, Ggx(mesh.vertices.abs().clamp(0, 1)))}, lights)


def as_double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def with_mesh(scene: Scene) -> Scene:
    ball = scene.objects["ball"]
    return replace(scene, objects={"ball": replace(ball, mesh=map_tensors(ball.mesh, as_double))})


def with_color(scene: Scene) -> Scene:
    ball = scene.objects["ball"]
    return replace(scene, objects={"ball": replace(ball, material=map_tensors(ball.material, as_double))})


def with_pose(scene: Scene) -> Scene:
    ball = scene.objects["ball"]
    return replace(scene, objects={"ball": replace(ball, pose=ball.pose.double())})


def with_lights(scene: Scene) -> Scene:
    return replace(scene, lights=map_tensors(scene.lights, as_double))


def with_background(scene: Scene) -> Scene:
    return replace(scene, background=scene.background.double())


def with_motion(scene: Scene) -> Scene:
    poses = scene.objects["ball"].pose.double().repeat(2, 1, 1)
    return replace(scene, motion=Motion(torch.tensor([0.0, 1.0], dtype=F64), {"objects.ball.pose": poses}))


@pytest.mark.parametrize(
    ("widen", "dtype"),
    [
        *((each, F64) for each in (with_mesh, with_pose, with_motion)),
        *((each, F32) for each in (with_color, with_lights, with_background)),
    ],
)
def test_one_part_may_be_in_float64(widen: Callable[[Scene], Scene], dtype: torch.dtype) -> None:
    scene, cameras = lit(), front_camera(24)
    image = render(widen(scene), cameras, aovs=("color", "normal", "depth")).image
    assert image.dtype == dtype
    expected = render(scene, cameras, aovs=("color", "normal", "depth")).image
    assert torch.allclose(image.float(), expected, atol=2e-3)


def test_cameras_may_be_in_float64_and_keep_their_times() -> None:
    scene, cameras = lit(), replace(front_camera(24), time=torch.tensor([0.1], dtype=F64))
    wide = cameras.in_dtype(F64)
    assert wide.focal_px.dtype == F64 and cameras.in_dtype(F32) is cameras
    assert torch.equal(wide.in_dtype(F32).time, cameras.time) and wide.in_dtype(F32).time.dtype == F64
    image = render(scene, wide).rgba
    assert image.dtype == F64
    assert torch.allclose(image.float(), render(scene, cameras).rgba, atol=2e-3)


def test_gradients_have_the_dtype_that_was_given() -> None:
    scene = with_mesh(lit())
    ball = scene.objects["ball"]
    color = torch.full((3,), 0.5, requires_grad=True)
    vertices = ball.mesh.vertices.clone().requires_grad_()
    learned = Object(ball.mesh.with_vertices(vertices), Ggx(color))
    render(replace(scene, objects={"ball": learned}), front_camera(24)).rgba.square().sum().backward()
    assert color.grad is not None and color.grad.dtype == F32 and bool((color.grad > 0).all())
    assert vertices.grad is not None and vertices.grad.dtype == F64 and bool(vertices.grad.any())


def test_whole_numbers_are_radiance_and_no_colours() -> None:
    scene, cameras = lit(), front_camera(24)
    lights = {
        "sun": Directional(torch.tensor([0, -1, 0]), torch.tensor([1, 1, 1])),
        "sky": SphericalHarmonics(torch.eye(9, 3).long()),
    }
    image = render(replace(scene, lights=lights), cameras).rgba
    assert torch.equal(image, render(replace(scene, lights=map_tensors(lights, Tensor.float)), cameras).rgba)
    for color in (torch.tensor([128, 0, 0], dtype=torch.uint8), torch.zeros(3).half()):
        with pytest.raises(ShapeError, match=r"^Ggx: base_color must be float32 or float64, got"):
            Ggx(color)


def test_places_that_were_rounded_are_told_whatever_else_is_in_float64() -> None:
    far = torch.tensor([500000.0, 4.5e6, 100.0], dtype=F64)
    scene, eye = lit(), torch.tensor([[0.0, 0.0, 3.0]], dtype=F64)
    ball = scene.objects["ball"]
    mesh = ball.mesh.with_vertices(ball.mesh.vertices.double() + far)
    seen = Cameras.perspective(eye + far, target=far, height=24, width=24)
    whole = replace(scene, objects={"ball": replace(ball, mesh=mesh)})
    with pytest.warns(PrecisionWarning, match="give all tensors as float64"):
        render(whole, Cameras.perspective((eye + far).float(), target=far.float(), height=24, width=24))
    rounded = replace(mesh.in_float32(), faces=mesh.faces.clone(), topology=None)  # told once per tensor of faces
    with pytest.warns(PrecisionWarning, match="give all tensors as float64"):
        render(replace(scene, objects={"ball": replace(ball, mesh=rounded)}), seen)
    near = render(scene, Cameras.perspective(eye.float(), height=24, width=24)).rgba
    assert torch.allclose(render(whole, seen).rgba.float(), near, atol=1e-3)
