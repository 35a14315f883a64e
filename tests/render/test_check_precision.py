"""Scenes far from the origin are told where float32 does not resolve them, and others never."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from diffrender.errors import NearPlaneWarning, PrecisionWarning
from diffrender.geometry.primitives import icosphere
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

UTM = torch.tensor([500_000.0, 4_649_776.0, 30.0], dtype=torch.float64)


def ball(center: torch.Tensor, radius: float, dtype: torch.dtype, posed: bool = False) -> tuple[Scene, Cameras]:
    """A ball of `radius` around `center`, by vertices or by the pose, and two cameras that look at it."""
    unit = icosphere(2)
    vertices, pose = radius * unit.vertices.double(), torch.eye(4, dtype=torch.float64)
    if posed:
        pose[:3, 3] = center
    else:
        vertices = vertices + center
    item = Object(Mesh(vertices.to(dtype), unit.faces), Unlit(torch.ones(3, dtype=dtype)), pose.to(dtype))
    eyes = center + 4 * radius * torch.tensor([[1.0, 0.2, 0.0], [0.0, 0.2, 1.0]], dtype=torch.float64)
    return Scene({"ball": item}), Cameras.perspective(eyes.to(dtype), center.to(dtype), fov_deg=40, height=32, width=32)


@pytest.mark.parametrize("posed", [False, True])
def test_a_scene_in_map_coordinates_is_told_where_it_is_rendered(posed: bool) -> None:
    scene, cameras = ball(UTM, 50.0, torch.float32, posed)
    with pytest.warns(PrecisionWarning, match=r"around \(500000, 4649776, 30\).*resolves 0\.56 units.*float64") as told:
        render(scene, cameras)
    assert told[0].filename == __file__
    # Once per mesh.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render(scene, cameras)


@pytest.mark.parametrize(
    ("center", "radius", "dtype"),
    [
        (UTM, 50.0, torch.float64),
        (UTM, 5000.0, torch.float32),
        (torch.zeros(3), 1e-3, torch.float32),
        (torch.tensor([300.0, -300.0, 300.0]), 1.0, torch.float32),
        (torch.tensor([1e6, 0.0, 0.0]), 2e3, torch.float32),
    ],
)
def test_what_is_resolved_is_not_told(center: torch.Tensor, radius: float, dtype: torch.dtype) -> None:
    scene, cameras = ball(center.double(), radius, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render_supersampled(scene, cameras, 16)
        render(scene, cameras)


def test_a_camera_inside_its_scene_is_not_told() -> None:
    scene, _ = ball(torch.tensor([100.0, 0.0, 0.0]), 50.0, torch.float32)
    inside = Cameras.perspective(torch.tensor([[100.0, 0.0, 0.0]]), (101.0, 0.0, 0.0), height=32, width=32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render(scene, inside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_scene_nearer_than_the_cameras_draw_is_told(dtype: torch.dtype) -> None:
    scene, cameras = ball(torch.zeros(3, dtype=torch.float64), 1e-6, dtype)
    with pytest.warns(
        NearPlaneWarning, match=r"100% of the vertices .* depths about 4.1e-06 while near is 0.001"
    ) as told:
        image = render(scene, cameras).rgba
    assert told[0].filename == __file__ and not image[..., 3].any()
    scene, cameras = ball(torch.zeros(3, dtype=torch.float64), 1e-6, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(render(scene, replace(cameras, near=1e-8)).rgba[..., 3].mean()) > 0.1


def test_what_was_not_decisive_is_looked_at_again() -> None:
    scene, cameras = ball(UTM, 50.0, torch.float64)
    rows = torch.tensor([[-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    away = replace(cameras, cam_from_world=rows.double() @ cameras.cam_from_world)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render(scene, cameras)  # in float64
    item = scene.objects["ball"]
    near = replace(item, mesh=item.mesh.in_float32(), material=Unlit(torch.ones(3)), pose=item.pose.float())
    single, others = Scene({"ball": near}), cameras.select(slice(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render(single, _in_float32(away))  # looks the other way
    with pytest.warns(PrecisionWarning):
        render(single, _in_float32(others))


def _in_float32(cameras: Cameras) -> Cameras:
    parts = (cameras.cam_from_world, cameras.focal_px, cameras.center_px)
    return Cameras(*(part.float() for part in parts), cameras.height, cameras.width)


def test_a_scene_that_rounding_moves_out_of_its_pictures_is_told() -> None:
    far = torch.tensor([5e6, 4.5e7, 0.0], dtype=torch.float64)
    sphere = icosphere(2)
    mesh = Mesh((sphere.vertices.double() + far + 2.0).float(), sphere.faces.clone())
    eye = (far + torch.tensor([0.0, 0.5, 3.0])).float()[None]
    cameras = Cameras.parallel(eye, target=far.tolist(), view_height=1.0, height=16, width=16)
    with pytest.warns(PrecisionWarning, match="float32 resolves"):
        image = render(Scene({"a": Object(mesh, Unlit())}), cameras).rgba
    assert float(image[..., 3].max()) == 0, "it is seen, which another test is about"
