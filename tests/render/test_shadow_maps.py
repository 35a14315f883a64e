"""Cast shadows: their positions compared with brute-force rays, their motion with supersampled images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.pictures import assert_images_agree
from support.shapes import front_camera, placed, scene_of
from support.truth import (
    Motion,
    assert_derivatives_agree,
    derivatives,
    gradients_of,
    moved_images,
    predictions,
    smooth_functional,
    vertex_motions,
    with_gradients,
)

from diffrender.geometry.primitives import bumpy_sphere, icosphere, plane
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional, Point, Spot
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.shadow_cameras import Shadow

CAMERA_EYE = torch.tensor([[1.0, 3.5, 3.0]])
LIGHTS = {
    "directional": Directional(torch.tensor([-0.6, -1.0, -0.4]), torch.full((3,), 3.0)),
    "point": Point(torch.tensor([1.4, 2.2, 0.8]), torch.full((3,), 10.0)),
    "spot": Spot(
        torch.tensor([1.4, 2.2, 0.8]), torch.tensor([-0.6, -1.0, -0.3]), torch.full((3,), 10.0), torch.tensor(30.0),
        torch.tensor(50.0),
    ),
}  # fmt: skip


def floor():
    vertices, faces = plane(8.0, 8.0, 2, 2)
    return Mesh(vertices - torch.tensor([0.0, 1.0, 0.0]), faces)


def blob(subdivisions=2):
    vertices, faces = bumpy_sphere(subdivisions)
    return Mesh(0.7 * vertices + torch.tensor([-0.2, 0.3, 0.0]), faces)


def two_objects(light, vertices=None):
    """Return a lobed ball that floats above a floor; only the floor is bright."""
    ball = blob() if vertices is None else blob().with_vertices(vertices)
    return scene_of(
        placed(ball, Lambert(torch.tensor([0.8, 0.3, 0.1]))), placed(floor(), Lambert(torch.full((3,), 0.6))),
        lights={"lamp": light},
    )  # fmt: skip


def camera(size):
    return Cameras.perspective(CAMERA_EYE, fov_deg=50, height=size, width=size)


def is_hit(origins, directions, mesh, reach=None):
    """Return [M] whether rays hit any triangle (Moeller & Trumbore 1997), testing all."""
    corners = mesh.vertices[mesh.faces].double()
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    hit = torch.zeros(len(origins), dtype=torch.bool)
    for start in range(0, len(origins), 500):
        rows = slice(start, start + 500)
        o, d = origins[rows, None].double(), directions[rows, None].double()
        p = torch.linalg.cross(d, second[None])
        scale = (p * first).sum(-1)
        t = o - corners[:, 0]
        u = (t * p).sum(-1) / scale
        q = torch.linalg.cross(t, first.expand_as(t))
        v = (d * q).sum(-1) / scale
        distance = (second * q).sum(-1) / scale
        far = torch.inf if reach is None else reach[rows, None].double()
        hit[rows] = ((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 1e-4) & (distance < far)).any(1)
    return hit


@pytest.mark.parametrize("name", LIGHTS)
def test_the_shadow_lies_where_rays_to_the_light_are_stopped(name):
    light = replace(LIGHTS[name], shadow=Shadow(0.003, 1024))
    scene, view = two_objects(light), camera(128)
    with torch.no_grad():
        lit = render(two_objects(LIGHTS[name]), view, Hard())
        shaded = render(scene, view, Hard())
    fragments = lit.visible.samples
    on_floor = fragments.face_id >= blob().n_faces
    # Where the pixels' rays hit the plane y = -1.
    world_from_cam = torch.linalg.inv(view.cam_from_world[0].double())
    place = fragments.xy_px[on_floor].double()
    ray = torch.cat([(place - view.center_px[0]) / view.focal_px[0], torch.ones(len(place), 1)], 1)
    ray = ray @ world_from_cam[:3, :3].T
    eye = world_from_cam[:3, 3]
    points = eye + ray * ((-1 - eye[1]) / ray[:, 1])[:, None]
    if name == "directional":
        towards, reach = -light.direction.double().expand_as(points), None
    else:
        towards = light.position.double() - points
        towards, reach = torch.nn.functional.normalize(towards, dim=1), towards.norm(dim=1)
    expected = is_hit(points, towards, blob(), reach)
    pixel = fragments.pixel[on_floor]
    before, after = (image.rgba.reshape(-1, 4)[pixel, 0] for image in (lit, shaded))
    counts = before > 1e-4  # inside the cone
    found = (after < 0.5 * before)[counts]
    expected = expected[counts]
    assert expected.sum() > 200
    iou = float((found & expected).sum() / (found | expected).sum())
    assert iou >= 0.97


@pytest.mark.parametrize("name", LIGHTS)
def test_a_convex_body_casts_no_shadow_on_itself(name):
    vertices, faces = icosphere(3)
    ball = placed(Mesh(vertices, faces), Lambert(torch.ones(3)))
    light = LIGHTS[name]

    def image(shadow):
        return render(scene_of(ball, lights={"lamp": replace(light, shadow=shadow)}), front_camera(64), Hard()).rgba

    assert_images_agree(image(Shadow()), image(None), error_at_most=1e-2)


def test_skies_and_unlit_things_cast_and_take_as_they_should():
    """An unlit object casts a shadow; other lights fill it."""
    sun = replace(LIGHTS["directional"], shadow=Shadow())
    objects = placed(blob(), Unlit(torch.ones(3))), placed(floor(), Lambert(torch.full((3,), 0.6)))
    sky = Ambient(torch.full((3,), 0.2))
    with torch.no_grad():
        image = render(scene_of(*objects, lights={"sun": sun, "sky": sky}), camera(64), Hard())
    seen = image.rgba[0][image.face_id[0] >= blob().n_faces][:, 0]
    assert float(seen.min()) == pytest.approx(0.6 * 0.2, abs=1e-4) and float(seen.max()) > 0.5


def test_edges_are_as_wide_as_wanted_and_half_bright_in_their_middle():
    """A half plane above a floor, lit from straight above: the shadow is a ramp centred at its edge."""
    roof = Mesh(torch.tensor([[0.0, 1, -9], [9, 1, -9], [9, 1, 9], [0, 1, 9]]), torch.tensor([[0, 2, 1], [0, 3, 2]]))
    ground = Mesh(roof.vertices * torch.tensor([2.0, 0, 1]) - torch.tensor([9.0, 0, 0]), roof.faces)
    view = Cameras.parallel(torch.tensor([[0.0, 0.5, 0.0]]), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 4.0, 200, 200)
    for softness in (0.01, 0.04):
        sun = Directional(torch.tensor([0.0, -1.0, 0.0]), torch.full((3,), torch.pi), shadow=Shadow(softness, 1024))
        scene = scene_of(placed(roof, Unlit(torch.zeros(3))), placed(ground, Lambert(torch.ones(3))), lights={"s": sun})
        with torch.no_grad():
            row = render(scene, view, Hard()).rgba[0, 100, :, 0]
        x = (torch.arange(200) + 0.5) / 50 - 2
        x = x if float(row[0]) > 0.5 else x.flip(0)
        width = 2 * 12.7 * (1 + 0.02)  # about the width of the world that the map covers
        assert float(row[x < -1.5 * softness * width].min()) > 0.99
        assert float(row[x > 1.5 * softness * width].max()) < 0.01
        middle = float(x[(row - 0.5).abs().argmin()])
        assert abs(middle) < 0.04
        slope = float((row[1:] - row[:-1]).abs().max()) * 50
        assert slope == pytest.approx(1 / (softness * width), rel=0.12)


def moving_light(kind):
    """Return (leaves, build) of two objects under a light of this kind whose position or direction is a leaf."""
    field = "direction" if kind == "directional" else "position"
    leaves = {"vertices": blob().vertices, field: getattr(LIGHTS[kind], field).clone()}
    view = camera(48)

    def build(leaves):
        light = replace(LIGHTS[kind], shadow=Shadow(0.015, 384), **{field: leaves[field]})
        return two_objects(light, leaves["vertices"]), view

    return leaves, build, field


def assert_gradients_are_true(what, build, leaves, images, *, noise_at_most, cosine_at_least, relative_l2_at_most):
    """Of three linear losses, along the motions in supersampled `images`."""
    learnt = with_gradients(leaves)
    image = render(*build(learnt)).rgba
    losses = [smooth_functional(image.shape, seed) for seed in range(3)]
    gradients = [gradients_of(loss, image, learnt) for loss in losses]
    assert_derivatives_agree(
        what,
        predictions(gradients, [item.motion for item in images]),
        derivatives(images, losses, noise_at_most=noise_at_most),
        cosine_at_least=cosine_at_least,
        relative_l2_at_most=relative_l2_at_most,
    )


@pytest.mark.parametrize("kind", ["directional", *(pytest.param(k, marks=pytest.mark.slow) for k in ("point", "spot"))])
def test_gradients_of_the_light_are_those_of_supersampled_images(kind):
    leaves, build, field = moving_light(kind)
    axes = [torch.tensor(axis) for axis in ([1.0, 0, 0], [0.0, 0, 1], [0.7, 0, -0.7], [0.3, 1, 0.2])]
    motions = [Motion(f"{field} {i}", {field: axis}, step=0.006) for i, axis in enumerate(axes)]
    images = moved_images(build, leaves, motions, 6)
    bounds = {"noise_at_most": 0.05, "cosine_at_least": 0.98, "relative_l2_at_most": 0.2}
    assert_gradients_are_true(f"{kind} light", build, leaves, images, **bounds)


@pytest.mark.slow
def test_gradients_of_what_casts_the_shadow_are_those_of_supersampled_images():
    """On the floor only: its pixels depend on the ball's vertices only through the shadow and the silhouette."""
    leaves, build, _ = moving_light("directional")
    images = moved_images(build, leaves, vertex_motions("vertices", leaves["vertices"], 2), 5)
    bounds = {"noise_at_most": 0.1, "cosine_at_least": 0.97, "relative_l2_at_most": 0.25}
    assert_gradients_are_true("caster", build, leaves, images, **bounds)


def test_a_light_of_the_camera_casts_shadows_of_its_own_in_each_view():
    """It equals two lights fixed to the world, one per camera."""
    eyes = torch.tensor([[1.0, 3.5, 3.0], [-2.0, 3.0, 2.5]])
    views = Cameras.perspective(eyes, fov_deg=50, height=48, width=48)
    torch_of_camera = Point(torch.tensor([1.0, -1.0, 0.5]), torch.full((3,), 20.0), "camera", Shadow(0.01, 256))
    with torch.no_grad():
        together = render(two_objects(torch_of_camera), views, Hard()).rgba
        for n in range(2):
            world_from_cam = torch.linalg.inv(views.cam_from_world[n])
            place = world_from_cam[:3, :3] @ torch_of_camera.position + world_from_cam[:3, 3]
            alone = replace(torch_of_camera, position=place, frame="world")
            image = render(two_objects(alone), views.select([n]), Hard()).rgba[0]
            assert float((image - together[n]).abs().mean()) < 1e-3
