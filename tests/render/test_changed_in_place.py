"""Meshes and light that change after they were made, and closed meshes that are seen from inside."""

from __future__ import annotations

import pytest
import torch
from support.cases import make_case, target_motion
from support.shapes import scene_of, smooth_colors, unshared
from support.truth import Leaves, vertex_motions
from torch import Tensor

from diffrender.geometry.primitives import box, icosphere, torus
from diffrender.geometry.signed_volumes import signed_volumes
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.light import Light
from diffrender.scene.lights import Ambient, Directional, Environment, Point
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

FRONT = Cameras.perspective(torch.tensor([[1.2, 1.5, 3.0]]), height=64, width=64)
SUN = {"sun": Directional(torch.tensor([-1.0, -1.0, -0.5]), torch.full((3,), 2.5))}


def lit(mesh: Mesh, cameras: Cameras = FRONT, lights: dict[str, Light] = SUN) -> Tensor:
    return render(Scene({"a": Object(mesh, Lambert(torch.tensor([0.9, 0.4, 0.1])))}, lights), cameras).rgba


@pytest.mark.parametrize("in_place", [False, True])
def test_a_mirrored_mesh_looks_as_a_new_one(in_place: bool) -> None:
    vertices, faces = icosphere(2)
    mesh, mirror = Mesh(vertices.float(), faces), torch.tensor([-1.0, 1.0, 1.0])
    assert lit(mesh).mean() > 0.1
    changed = mesh if in_place else mesh.with_vertices(mesh.vertices * mirror)
    if in_place:
        mesh.vertices.mul_(mirror)
    torch.testing.assert_close(lit(changed), lit(Mesh(vertices.float() * mirror, faces.clone())))
    assert not changed.faces_outward


def test_vertices_that_part_or_meet_in_place_have_the_image_and_gradient_of_a_new_mesh() -> None:
    vertices, faces = unshared(Mesh(*box(0.6))).vertices, torch.arange(36).reshape(12, 3)
    away = 0.1 * torch.randn(12, 3, generator=torch.Generator().manual_seed(1)).repeat_interleave(3, 0)
    weights = torch.rand(1, 64, 64, 4, generator=torch.Generator().manual_seed(0))

    def gradient(mesh: Mesh) -> tuple[Tensor, Tensor]:
        image = render(Scene({"a": Object(mesh, Unlit())}), FRONT).rgba
        return image.detach(), torch.autograd.grad((image * weights).sum(), mesh.vertices)[0]

    learned = torch.nn.Parameter(vertices.clone())
    mesh = Mesh(learned, faces)
    for positions in (vertices, vertices + away, vertices):
        with torch.no_grad():
            learned.copy_(positions)
        fresh = Mesh(positions.clone().requires_grad_(), faces.clone())
        torch.testing.assert_close(gradient(mesh), gradient(fresh))


def test_an_environment_that_changes_in_place_is_seen() -> None:
    vertices, faces = icosphere(2)
    texels = torch.ones(16, 32, 3)
    lights: dict[str, Light] = {"sky": Environment(EnvMap(texels))}
    before = lit(Mesh(vertices.float(), faces), lights=lights)
    texels.numpy()[:] = 0.5  # leaves no trace in the tensor's version
    after = lit(Mesh(vertices.float(), faces), lights=lights)
    torch.testing.assert_close(after[..., :3], before[..., :3] / 2)


BULB: dict[str, Light] = {"bulb": Point(torch.tensor([0.0, 0.0, 0.2]), torch.ones(3))}


def test_a_closed_mesh_around_the_camera_is_lit_as_one_that_is_turned_or_open() -> None:
    vertices, faces = icosphere(3)
    inside = Cameras.perspective(torch.tensor([[0.0, 0.1, 0.3]]), target=(0, 0, -1), fov_deg=80, height=48, width=48)
    images = [lit(Mesh(vertices.float(), each), inside, BULB) for each in (faces, faces.flip(1), faces[1:].clone())]
    assert images[0][..., :3].mean() > 0.05
    torch.testing.assert_close(images[0], images[1])
    assert (images[0] - images[2]).abs().amax(-1).gt(1e-4).float().mean() < 0.02  # the hole, if it is seen


def test_a_closed_mesh_cut_by_the_near_plane_shows_its_inside() -> None:
    vertices, faces = icosphere(3)
    cutting = Cameras.perspective(torch.tensor([[0.0, 0.0, 2.0]]), height=48, width=48, near=1.8)
    lights: dict[str, Light] = {"bulb": Point(torch.tensor([0.0, 0.0, 2.0]), torch.full((3,), 4.0))}
    assert lit(Mesh(vertices.float(), faces), cutting, lights)[0, 24, 24, 0] > 0.1


def test_gradients_of_a_closed_mesh_around_the_camera_are_those_of_the_image() -> None:
    vertices, faces = torus(1.0, 0.4)
    vertices, material = vertices.float(), Lambert(smooth_colors(vertices.float()))
    eye = torch.tensor([[1.05, 0.1, 0.05]])
    inside = Cameras.perspective(eye, target=(0.6, 0.0, 0.9), fov_deg=70, height=64, width=64, near=0.02)
    assert signed_volumes(vertices, faces).sum() > 0
    lights: dict[str, Light] = {"bulb": Point(eye[0], torch.full((3,), 0.3)), "sky": Ambient(torch.full((3,), 0.1))}

    def build(leaves: Leaves) -> tuple[Scene, Cameras]:
        return scene_of(Object(Mesh(leaves["vertices"], faces), material), lights=lights), inside

    motions = vertex_motions("vertices", vertices, 2)
    case = make_case(build, {"vertices": vertices}, motions, target_motion("vertices", vertices), samples=12)
    assert case.image[..., :3].mean() > 0.05
    case.check_all("inside a torus", linear=0.04, squared=0.06)
