"""AOVs: normals and depth as images with the same silhouettes and gradients as colours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.pictures import assert_images_agree

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.render.aovs import AOVS
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

ALL = tuple(AOVS)


def two_spheres(dtype: torch.dtype = torch.float32) -> Scene:
    objects = {}
    for name, center, color in (
        ("near", (0.5, 0.1, 0.6), (0.9, 0.2, 0.1)),
        ("far", (-0.4, 0.0, -0.6), (0.1, 0.4, 0.8)),
    ):
        vertices, faces = icosphere(3)
        mesh = Mesh(vertices.to(dtype) * 0.7 + torch.tensor(center, dtype=dtype), faces)
        objects[name] = Object(mesh, Unlit(torch.tensor(color, dtype=dtype)))
    return Scene(objects, background=torch.tensor([0.3, 0.3, 0.3], dtype=dtype))


def cameras_of(size: int = 48, n: int = 2) -> Cameras:
    eyes = torch.tensor([[0.0, 0.5, 4.0], [3.0, 1.0, 2.0]])[:n]
    return Cameras.perspective(eyes, fov_deg=35, height=size, width=size)


@pytest.mark.parametrize("edges", EDGE_MODELS)
def test_every_aov_is_what_it_is_alone(edges: str) -> None:
    scene, cameras = two_spheres(), cameras_of()
    together = render(scene, cameras, EDGE_MODELS[edges](), aovs=ALL)
    assert together.image.shape == (2, 48, 48, sum(AOVS[name].channels for name in ALL) + 1)
    for name in ALL:
        alone = render(scene, cameras, EDGE_MODELS[edges](), aovs=(name,))
        assert_images_agree(together.aov(name), alone.aov(name), error_at_most=1e-6)
        assert_images_agree(together.coverage[..., None], alone.coverage[..., None], error_at_most=1e-6)
    assert_images_agree(together.rgba, render(scene, cameras, EDGE_MODELS[edges]()).rgba, error_at_most=1e-6)


def test_aovs_are_close_to_dense_supersampling() -> None:
    scene, cameras = two_spheres(), cameras_of()
    truth = render_supersampled(scene, cameras, 16, aovs=("normal", "depth"))
    output = render(scene, cameras, aovs=("normal", "depth"))
    for channel, rms in enumerate((0.015, 0.015, 0.015, 0.06, 0.015)):
        assert_images_agree(output.image[..., channel, None], truth[..., channel, None], rms_at_most=rms)


def test_a_sphere_shows_its_own_normals_and_depths() -> None:
    vertices, faces = icosphere(5)
    scene = Scene({"ball": Object(Mesh(vertices, faces), Unlit())})
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 4.0]]), fov_deg=35, height=33, width=33)
    output = render(scene, cameras, aovs=("normal", "depth"))
    torch.testing.assert_close(output.aov("normal")[0, 16, 16], torch.tensor([0.0, 0.0, 1.0]), rtol=0, atol=5e-3)
    torch.testing.assert_close(output.aov("depth")[0, 16, 16, 0], torch.tensor(3.0), rtol=0, atol=2e-3)
    inside = output.coverage == 1
    lengths = output.aov("normal").norm(dim=-1)[inside]
    assert lengths.min() > 0.98 and lengths.max() <= 1 + 1e-5
    assert (output.aov("depth")[output.coverage == 0] == 0).all()


@pytest.mark.parametrize(("name", "tolerance"), [("normal", 0.04), pytest.param("depth", 0.04, marks=pytest.mark.slow)])
def test_gradients_are_those_of_the_supersampled_image(name: str, tolerance: float) -> None:
    # The far sphere slides behind the near one and against the background.
    scene, cameras = two_spheres(torch.float64), cameras_of(64, 1)
    cameras = replace(
        cameras,
        cam_from_world=cameras.cam_from_world.double(),
        focal_px=cameras.focal_px.double(),
        center_px=cameras.center_px.double(),
    )
    generator = torch.Generator().manual_seed(3)
    channels = 4 if name == "normal" else 2
    weights = torch.nn.functional.interpolate(
        torch.randn(1, channels, 6, 6, generator=generator, dtype=torch.float64), size=(64, 64), mode="bicubic"
    ).permute(0, 2, 3, 1)

    def moved(shift: torch.Tensor) -> Scene:
        far = scene.objects["far"]
        mesh = far.mesh.with_vertices(far.mesh.vertices + shift)
        return replace(scene, objects={"near": scene.objects["near"], "far": replace(far, mesh=mesh)})

    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (render(moved(shift), cameras, aovs=(name,)).image * weights).sum().backward()
    assert shift.grad is not None
    step = 0.02
    differences = []
    for axis in torch.eye(3, dtype=torch.float64):
        ends = [
            (render_supersampled(moved(sign * step * axis), cameras, 24, aovs=(name,)) * weights).sum()
            for sign in (1, -1)
        ]
        differences.append((ends[0] - ends[1]) / (2 * step))
    truth = torch.stack(differences)
    assert (shift.grad - truth).norm() / truth.norm() < tolerance, (shift.grad, truth)


@pytest.mark.parametrize("names", [(), ("colour",), ("normal", "normal"), "normal"])
def test_unknown_aovs_are_refused(names: object) -> None:
    with pytest.raises(ShapeError, match="aovs must be distinct names out of color, normal, depth"):
        render(two_spheres(), cameras_of(), aovs=names)  # type: ignore[arg-type]


def test_an_aov_that_was_not_asked_for_is_refused() -> None:
    output = render(two_spheres(), cameras_of(), aovs=("normal",))
    with pytest.raises(ShapeError, match="there is no AOV 'depth', only normal"):
        output.aov("depth")
    with pytest.raises(ShapeError, match="there is no AOV 'color'"):
        _ = output.rgba
