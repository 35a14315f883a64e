from dataclasses import replace

import pytest
import torch
from support.shapes import bumpy, camera_at, flat_camera, oblique_cameras, placed, scene_of, square

from diffrender.geometry.tangents import group_tangents
from diffrender.ops.smooth_normals import smooth_normals
from diffrender.render.edge_models import Hard
from diffrender.render.radiance import radiance_of
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional, Point
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import ShadingPoints, VertexFrames
from diffrender.scene.textures.bake import unwrap_mesh

COLOR = torch.tensor([0.8, 0.4, 0.2])


def surface_of(mesh, n_points=200):
    generator = torch.Generator().manual_seed(0)
    face_id = torch.randint(mesh.n_faces, (n_points,), generator=generator)
    bary = torch.rand(n_points, 3, generator=generator) + 0.05
    bary = bary / bary.sum(1, keepdim=True)
    view = torch.zeros(n_points, dtype=torch.int64)
    return ShadingPoints(mesh, mesh.vertices, face_id, bary, view, camera_at((0.0, 0.0, 3.0)))


def lights(factor=1.0):
    return [
        Ambient(factor * torch.tensor([0.2, 0.3, 0.4])),
        Directional(torch.tensor([0.2, -1.0, -0.5]), factor * torch.tensor([1.0, 2.0, 3.0])),
        Point(torch.tensor([1.0, 2.0, 1.5]), factor * torch.tensor([3.0, 2.0, 1.0])),
    ]


def test_radiance_is_the_sum_over_the_lights():
    surface, material = surface_of(bumpy(2)), Lambert(COLOR)
    together = radiance_of(surface, material, lights())
    alone = [radiance_of(surface, material, [light]) for light in lights()]
    assert together.shape == (200, 3) and all(bool(one.any()) for one in alone)
    torch.testing.assert_close(together, alone[0] + alone[1] + alone[2])


@pytest.mark.parametrize("which", range(3), ids=["ambient", "directional", "point"])
def test_doubling_the_light_doubles_the_radiance(which):
    surface, material = surface_of(bumpy(2)), Lambert(COLOR)
    once = radiance_of(surface, material, [lights()[which]])
    twice = radiance_of(surface, material, [lights(2.0)[which]])
    assert once.any()
    torch.testing.assert_close(twice, 2 * once)


def test_doubling_the_light_doubles_the_image():
    def image(factor):
        named = dict(zip("abc", lights(factor), strict=True))
        return render(scene_of(placed(bumpy(2), Lambert(COLOR)), lights=named), oblique_cameras(1, 32), Hard()).rgba

    once, twice = image(1.0), image(2.0)
    covered = once[..., 3] == 1
    assert covered.sum() > 100
    torch.testing.assert_close(twice[covered][:, :3], 2 * once[covered][:, :3])
    assert torch.equal(twice[~covered], once[~covered])  # the background is not lit


def test_without_light_a_lit_material_is_black_and_an_unlit_one_is_not():
    surface = surface_of(bumpy(2))
    assert torch.equal(radiance_of(surface, Lambert(COLOR), []), torch.zeros(200, 3))
    assert torch.equal(radiance_of(surface, Unlit(COLOR), []), COLOR.expand(200, 3))
    assert torch.equal(radiance_of(surface, Unlit(COLOR), lights()), COLOR.expand(200, 3))


def test_a_surface_without_points_has_no_radiance():
    assert radiance_of(surface_of(bumpy(1), 0), Lambert(COLOR), lights()).shape == (0, 3)
    assert radiance_of(surface_of(bumpy(1), 0), Unlit(COLOR), lights()).shape == (0, 3)


def facing_image(mesh, eye_z, travels_z):
    """Render the middle pixel of a white square seen from eye_z along the z axis, lit by a sun along the z axis."""
    cameras = Cameras.parallel(torch.tensor([[0.0, 0.0, eye_z]]), view_height=2.0, height=8, width=8)
    sun = Directional(torch.tensor([0.0, 0.0, travels_z]), torch.full((3,), torch.pi))
    scene = scene_of(placed(mesh, Lambert(torch.ones(3))), lights={"sun": sun})
    return render(scene, cameras).rgba[0, 4, 4, 0]


@pytest.mark.parametrize("eye_z", [3.0, -3.0])
def test_an_open_mesh_is_lit_on_the_side_that_is_seen(eye_z):
    assert float(facing_image(square(), eye_z, travels_z=-eye_z)) == pytest.approx(1, abs=1e-5)
    assert float(facing_image(square(), eye_z, travels_z=eye_z)) == 0


def test_a_white_sheet_under_a_white_sky_is_white_from_both_sides():
    for eye_z in (3.0, -3.0):
        cameras = Cameras.parallel(torch.tensor([[0.0, 0.0, eye_z]]), view_height=2.0, height=8, width=8)
        scene = scene_of(placed(square(), Lambert(torch.ones(3))), lights={"sky": Ambient(torch.ones(3))})
        torch.testing.assert_close(render(scene, cameras).rgba[0, 4, 4, :3], torch.ones(3))


def test_a_ball_under_the_sun_has_the_cosine_of_the_angle():
    from diffrender.geometry.primitives import icosphere

    vertices, faces = icosphere(4)
    sun = Directional(torch.tensor([0.0, 0.0, -2.0]), torch.full((3,), torch.pi))  # from the camera; need not be unit
    scene = scene_of(placed(Mesh(0.9 * vertices, faces), Lambert(torch.ones(3))), lights={"sun": sun})
    output = render(scene, flat_camera(32, 32), Hard())
    y, x = torch.meshgrid((torch.arange(32) + 0.5) / 16 - 1, (torch.arange(32) + 0.5) / 16 - 1, indexing="ij")
    squared = 1 - (x**2 + y**2) / 0.81
    inside = squared > 0.05
    torch.testing.assert_close(output.rgba[0, ..., 1][inside], squared[inside].sqrt(), atol=0.01, rtol=0)


@pytest.mark.parametrize("mapped", [False, True])
def test_frames_of_vertices_are_worked_out_once_an_object(monkeypatch, mapped):
    """Shading across silhouettes, without gradients, reuses the frames of the image's own points."""
    calls = []
    for name, function in (("normals", smooth_normals), ("tangents", group_tangents)):

        def counted(*arguments, name=name, function=function, **options):
            calls.append((name, torch.is_grad_enabled()))
            return function(*arguments, **options)

        whole = {"normals": "smooth_normals", "tangents": "group_tangents"}[name]
        monkeypatch.setattr(f"diffrender.scene.shading_points.{whole}", counted)
    mesh = unwrap_mesh(bumpy(1), 16) if mapped else bumpy(1)
    vertices = mesh.vertices.clone().requires_grad_()
    material = Lambert(COLOR, normal=torch.tensor([0.3, 0.0, 1.0]) if mapped else None)
    scene = scene_of(placed(mesh.with_vertices(vertices), material), lights={"sun": lights()[1]})
    image = render(scene, oblique_cameras(2, 32)).rgba
    assert calls == [("normals", True)] + [("tangents", True)] * mapped
    (gradient,) = torch.autograd.grad(image.square().sum(), vertices)
    assert gradient.any()


@pytest.mark.parametrize("is_joined", [False, True])
def test_normals_are_made_by_the_backend_of_the_image(monkeypatch, is_joined):
    asked = []

    def noted(*arguments, backend=None):
        asked.append(backend)
        return smooth_normals(*arguments, backend=backend)

    for module in ("shading_points", "joined_surface"):
        monkeypatch.setattr(f"diffrender.scene.{module}.smooth_normals", noted)
    mesh = bumpy(1)
    halves = [
        replace(mesh, faces=mesh.faces[part], normal_faces=mesh.faces[part]) for part in (slice(40), slice(40, 80))
    ]
    parts = {name: Object(each, Lambert(COLOR), part_of="it") for name, each in zip("ab", halves, strict=True)}
    objects = parts if is_joined else {"it": Object(mesh, Lambert(COLOR))}
    render(Scene(objects, {"sun": lights()[1]}), oblique_cameras(1, 32), backend="reference")
    assert asked == ["reference"]


def test_frames_that_are_asked_for_under_no_grad_have_their_gradient_later():
    mesh = unwrap_mesh(bumpy(1), 16)
    vertices = mesh.vertices.clone().requires_grad_()

    def tangents_of(frames):
        return frames.tangents_w[1]

    asked, fresh = VertexFrames(mesh, vertices), VertexFrames(mesh, vertices)
    with torch.no_grad():
        tangents_of(asked)
    weight = torch.randn(tangents_of(fresh).shape, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(tangents_of(fresh), vertices, weight)
    (found,) = torch.autograd.grad(tangents_of(asked), vertices, weight)
    assert expected.any()
    torch.testing.assert_close(found, expected)
