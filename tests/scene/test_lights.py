"""One suite over the table of lights, and each light's own law."""

import dataclasses
import math

import pytest
import torch
from support.shapes import bumpy, camera_at, square

from diffrender.errors import ConfigError, ShapeError
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.environment.sphere_directions import even_directions
from diffrender.scene.light import EnvironmentLight, Light
from diffrender.scene.lights import (
    LIGHTS,
    Ambient,
    Directional,
    Environment,
    PerViewDirectional,
    Point,
    SphericalHarmonics,
    Spot,
)
from diffrender.scene.lights.spherical_harmonics import harmonics
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.shading_points import ShadingPoints

F64 = torch.float64
FRAMED = [name for name, light in LIGHTS.items() if "frame" in light.__dataclass_fields__]


def surface_of(mesh, n_points=50):
    generator = torch.Generator().manual_seed(0)
    face_id = torch.randint(mesh.n_faces, (n_points,), generator=generator)
    bary = torch.rand(n_points, 3, generator=generator, dtype=mesh.vertices.dtype) + 0.05
    bary = bary / bary.sum(1, keepdim=True)
    cameras = camera_at((0.0, 0.0, 3.0), dtype=mesh.vertices.dtype)
    return ShadingPoints(mesh, mesh.vertices, face_id, bary, torch.zeros_like(face_id), cameras)


def learned(light):
    """Return the learnable fields of a light as tensors."""
    values = {name: getattr(light, name) for name in kinds_of(light)}
    return {name: value.texels if isinstance(value, EnvMap) else value for name, value in values.items()}


def with_values(light, values):
    maps = {name for name in values if isinstance(getattr(light, name), EnvMap)}
    return dataclasses.replace(
        light, **{name: EnvMap(value) if name in maps else value for name, value in values.items()}
    )


@pytest.mark.parametrize("name", LIGHTS)
def test_samples_are_unit_directions_with_non_negative_radiance(name):
    surface = surface_of(bumpy(2))
    light = LIGHTS[name]()
    to_light, radiance = light.sample(surface)
    assert isinstance(light, Light)
    assert to_light.shape[0] in (1, 50) and to_light.shape[2] == 3 and radiance.shape[0] in (1, 50)
    assert to_light.shape[1] == radiance.shape[1]
    torch.testing.assert_close(to_light.norm(dim=-1), torch.ones(to_light.shape[:2]))
    assert radiance.min() >= 0 and radiance.max() > 0


@pytest.mark.parametrize("name", LIGHTS)
def test_fields_are_learnable_and_frozen(name):
    light = LIGHTS[name]()
    assert {kind.parametrization for kind in kinds_of(light).values()} <= {"positive", "direction", "identity"}
    for item in dataclasses.fields(light):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(light, item.name, torch.ones(3))


@pytest.mark.parametrize("name", [name for name in LIGHTS if issubclass(LIGHTS[name], EnvironmentLight)])
@pytest.mark.parametrize("material", [Lambert(torch.tensor([0.9, 0.5, 0.2])), Ggx(roughness=torch.ones(1))])
def test_skies_reflect_what_their_samples_do(name, material):
    """Environment lights are radiance 1 by default; their prefiltered shading matches the sum over all directions."""
    surface, sky = surface_of(bumpy(2)), LIGHTS[name]()
    # Points whose normal faces away from the camera are not visible.
    seen = torch.nonzero((surface.normal_w * surface.to_camera_w).sum(1) > 0.1)[:, 0]
    surface = dataclasses.replace(
        surface, face_id=surface.face_id[seen], where=surface.bary[seen], view=surface.view[seen]
    )
    to_light, arriving = sky.sample(surface)
    summed = (material.evaluate(surface, to_light) * arriving).sum(1)
    assert len(surface) > 10
    torch.testing.assert_close(sky.shade(surface, material).expand_as(summed), summed, atol=6e-3, rtol=0)


def test_ambient_light_on_lambert_gives_base_colour_times_radiance():
    color, radiance = torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0.3, 2.0, 1.0])
    reflected = Ambient(radiance).shade(surface_of(bumpy(2)), Lambert(color))
    torch.testing.assert_close(reflected.expand(50, 3), (color * radiance).expand(50, 3))


def test_directional_light_travels_its_direction_at_any_length():
    surface = surface_of(square())
    for length in (0.01, 1.0, 50.0):
        to_light, radiance = Directional(length * torch.tensor([0.0, -0.6, -0.8]), torch.ones(3)).sample(surface)
        torch.testing.assert_close(to_light[0, 0], torch.tensor([0.0, 0.6, 0.8]))
        torch.testing.assert_close(radiance[0, 0], torch.ones(3))
    # A white diffuse surface that faces it reflects radiance / pi.
    sun = Directional(torch.tensor([0.0, 0.0, -1.0]), torch.ones(3))
    to_light, radiance = sun.sample(surface)
    reflected = (Lambert(torch.ones(3)).evaluate(surface, to_light) * radiance).sum(1)
    torch.testing.assert_close(reflected, torch.full((50, 3), 1 / math.pi))


def test_point_light_falls_off_with_the_squared_distance():
    surface = surface_of(square(F64))
    intensity = torch.tensor([3.0, 2.0, 1.0], dtype=F64)
    for position in ([0.0, 0.0, 1.0], [0.3, -0.2, 2.0], [0.3, -0.2, 4.0]):
        place = torch.tensor(position, dtype=F64)
        to_light, radiance = Point(place, intensity).sample(surface)
        offset = place - surface.position_w
        distance = offset.norm(dim=1)
        torch.testing.assert_close(radiance[:, 0], intensity / distance[:, None] ** 2)
        torch.testing.assert_close(to_light[:, 0], offset / distance[:, None])
    # Twice the distance along one ray: a quarter of the light.
    point = surface.position_w[:1]
    ray = torch.tensor([0.2, 0.1, 1.0], dtype=F64)
    near, far = (Point(point[0] + factor * ray, intensity).sample(surface).radiance[0, 0] for factor in (1, 2))
    torch.testing.assert_close(near, 4 * far)


def test_point_light_conserves_power_through_any_ball_around_it():
    """The flux of an isotropic light through a sphere is 4 pi times its intensity, whatever the radius."""
    from diffrender.geometry.primitives import icosphere
    from diffrender.scene.mesh import Mesh

    vertices, faces = icosphere(4)
    for radius in (1e-8, 0.5, 3.0, 1e8):
        mesh = Mesh((radius * vertices).double(), faces)
        face_id = torch.arange(len(faces))
        bary = torch.full((len(faces), 3), 1 / 3, dtype=F64)
        surface = ShadingPoints(
            mesh, mesh.vertices, face_id, bary, torch.zeros_like(face_id), camera_at((0.0, 0.0, 9.0), dtype=F64)
        )
        to_light, radiance = Point(torch.tensor([0.1, 0.05, 0.0]).double() * radius, torch.ones(3).double()).sample(
            surface
        )
        corners = mesh.vertices[faces]
        area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
        flux = -(to_light[:, 0] * area).sum(1) @ radiance[:, 0, 0]
        assert float(flux) == pytest.approx(4 * math.pi, rel=5e-3)


def test_point_light_on_the_surface_stays_finite():
    surface = surface_of(square())
    position = surface.position_w[0].clone().requires_grad_()
    to_light, radiance = Point(position, torch.ones(3)).sample(surface)
    assert to_light.isfinite().all() and radiance.isfinite().all()
    (gradient,) = torch.autograd.grad((to_light.sum() + radiance.sum()), position)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("frame", ["world", "camera"])
@pytest.mark.parametrize("name", LIGHTS)
def test_gradients_match_finite_differences(name, frame):
    if frame == "camera" and name not in FRAMED:
        return
    surface = surface_of(bumpy(1, F64), 5)
    generator = torch.Generator().manual_seed(0)
    start = LIGHTS[name](frame=frame) if name in FRAMED else LIGHTS[name]()
    values = {field: value.double() * 1.1 for field, value in learned(start).items()}
    for field, value in values.items():
        values[field] = (value + 0.1 * torch.rand(value.shape, generator=generator, dtype=F64)).requires_grad_()
    if name == "spot":
        values["direction"] = torch.tensor([0.3, -1.0, 0.1], dtype=F64, requires_grad=True)
        values["outer_deg"] = torch.tensor(80.0, dtype=F64, requires_grad=True)
        if frame == "camera":
            values["position"] = torch.tensor([0.2, -1.5, 3.1], dtype=F64, requires_grad=True)
            values["direction"] = torch.tensor([0.1, 1.0, 0.1], dtype=F64, requires_grad=True)
    material = Ggx(*(torch.full((n,), x, dtype=F64) for n, x in ((3, 0.6), (1, 0.3), (1, 0.6))))

    def shown(*tensors):
        light = with_values(start, dict(zip(values, tensors, strict=True)))
        return light.shade(surface, material)

    leaves = tuple(values.values())
    assert shown(*leaves).any()
    # A map has about 1,500 numbers; the fast mode checks a random combination of them.
    assert torch.autograd.gradcheck(shown, leaves, atol=1e-6, fast_mode=name == "environment")


def test_spot_light_is_a_point_light_inside_its_cone_and_dark_outside():
    surface = surface_of(square(F64), 400)
    place, axis = torch.tensor([0.1, 0.0, 1.0], dtype=F64), torch.tensor([0.0, 0.1, -2.0], dtype=F64)
    intensity = torch.tensor([3.0, 2.0, 1.0], dtype=F64)
    inner, outer = torch.tensor(12.0, dtype=F64), torch.tensor(22.0, dtype=F64)
    spot, point = Spot(place, axis, intensity, inner, outer).sample(surface), Point(place, intensity).sample(surface)
    assert torch.equal(spot.to_light_w, point.to_light_w)
    cosine = -(spot.to_light_w[:, 0] @ torch.nn.functional.normalize(axis, dim=0))
    angle = torch.rad2deg(cosine.acos())
    share = (spot.radiance / point.radiance)[:, 0, 0]
    assert torch.equal(share[angle < 12], torch.ones_like(share[angle < 12]))
    assert not share[angle > 22].any() and (angle < 12).any() and (angle > 22).any()
    between = (angle > 12) & (angle < 22)
    cos_inner, cos_outer = math.cos(math.radians(12)), math.cos(math.radians(22))
    expected = ((cosine[between] - cos_outer) / (cos_inner - cos_outer)) ** 2
    assert between.any()
    torch.testing.assert_close(share[between], expected)


@pytest.mark.parametrize("size", [9, 16])
def test_harmonics_are_orthonormal(size):
    directions = even_directions(torch.zeros((), dtype=F64))
    basis = harmonics(directions, size)
    gram = basis.T @ basis * (4 * math.pi / len(directions))
    torch.testing.assert_close(gram, torch.eye(size, dtype=F64), atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", [9, 16])
def test_harmonics_light_diffuse_surfaces_exactly_and_highlights_by_their_bands(size):
    surface = surface_of(bumpy(2, F64))
    coefficients = torch.randn(size, 3, generator=torch.Generator().manual_seed(2), dtype=F64)
    sky = SphericalHarmonics(coefficients)
    directions, radiance = sky.sample(surface)
    normals = surface.normal_w
    cosine = (normals[:, None] * directions).sum(-1, keepdim=True).clamp_min(0)
    torch.testing.assert_close(
        sky.mean_radiance(surface, normals), (cosine * radiance).sum(1) / math.pi, atol=1e-2, rtol=0
    )
    # A mirror shows the environment itself.
    mirror = sky.lobe_radiance(surface, normals[:, None], torch.zeros(1, 1, dtype=F64))[:, 0]
    torch.testing.assert_close(mirror, harmonics(normals, size) @ coefficients, atol=1e-2, rtol=1e-2)
    # Several lobes, each of its own direction and width, are several answers.
    directions = torch.stack([normals, -normals], 1)
    widths = torch.tensor([[0.2, 0.9]], dtype=F64)
    both = sky.lobe_radiance(surface, directions, widths)
    for lobe in (0, 1):
        alone = sky.lobe_radiance(surface, directions[:, lobe : lobe + 1], widths[:, lobe : lobe + 1])
        torch.testing.assert_close(both[:, lobe], alone[:, 0])


def test_a_light_of_the_camera_goes_with_it():
    """Scene and camera rotated together give the same image; in the camera frame the light does not change."""
    mesh = bumpy(2, F64)
    turn = axis_angle_to_matrix(torch.tensor([0.3, 1.1, -0.4], dtype=F64))
    offset = torch.tensor([1.0, 0.5, -2.0], dtype=F64)
    before = surface_of(mesh)
    cam_from_world = before.cameras.cam_from_world.clone()
    cam_from_world[:, :3, :3] = before.cameras.cam_from_world[:, :3, :3] @ turn.T
    cam_from_world[:, :3, 3] -= cam_from_world[:, :3, :3] @ offset
    cameras = dataclasses.replace(before.cameras, cam_from_world=cam_from_world)
    after = dataclasses.replace(before, vertices_w=mesh.vertices @ turn.T + offset, cameras=cameras)
    material = Ggx(*(torch.full((n,), x, dtype=F64) for n, x in ((3, 0.6), (1, 0.3), (1, 0.6))))
    generator = torch.Generator().manual_seed(0)
    for name in FRAMED:
        light = LIGHTS[name](frame="camera")
        values = {
            field: value.double() + 0.5 * torch.rand(value.shape, generator=generator, dtype=F64)
            for field, value in learned(light).items()
        }
        if "position" in values:
            values["position"] = torch.tensor([0.5, -0.7, 1.0], dtype=F64)
        if "direction" in values:
            values["direction"] = torch.tensor([-0.2, 0.3, 1.0], dtype=F64).expand_as(values["direction"])
        light = with_values(light, values)
        seen = light.shade(before, material)
        assert seen.any()
        torch.testing.assert_close(light.shade(after, material), seen)
        still = dataclasses.replace(light, frame="world")
        assert not torch.allclose(still.shade(after, material), seen)


def test_camera_axes_are_right_down_and_forward():
    surface = surface_of(square(F64))  # seen from +z, with +y up
    torch.testing.assert_close(
        Directional(torch.tensor([0.0, 1.0, 0.0], dtype=F64), torch.ones(3, dtype=F64), "camera").sample(surface)[0][
            0, 0
        ],
        torch.tensor([0.0, 1.0, 0.0], dtype=F64),  # it travels down the image, so it comes from above
    )
    at_camera = Point(torch.zeros(3, dtype=F64), torch.ones(3, dtype=F64), "camera").sample(surface)
    torch.testing.assert_close(at_camera.to_light_w[:, 0], surface.to_camera_w)


@pytest.mark.parametrize("light", [Ambient, Directional, Point, Spot])
@pytest.mark.parametrize("value", [2.0, (1, 1, 1), torch.ones(()), torch.ones(1), torch.ones(4), torch.ones(1, 3)])
def test_values_of_another_shape_are_refused(light, value):
    for name in (name for name, kind in kinds_of(light).items() if kind.channels == 3):
        with pytest.raises(ShapeError, match=rf"^{light.__name__}: {name} must "):
            light(**{name: value})


def test_an_environment_wants_a_map():
    with pytest.raises(ShapeError, match=r"^Environment: radiance must be an EnvMap, got Tensor"):
        Environment(torch.ones(16, 32, 3))


@pytest.mark.parametrize("name", FRAMED)
def test_unknown_frames_are_refused(name):
    with pytest.raises(ConfigError, match="frame must be one of world, camera, got 'object'"):
        LIGHTS[name](frame="object")


def test_each_numbered_view_sees_its_own_flash():
    mesh = square()
    cameras = camera_at((0.0, 0.0, 3.0))
    three = dataclasses.replace(cameras.select([0, 0, 0]), number=torch.tensor([2, 0, 1]))
    directions = torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])
    light = PerViewDirectional(directions, torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]))
    view = torch.tensor([0, 1, 2, 0])
    bary = torch.full((4, 3), 1 / 3)
    seen = light.sample(ShadingPoints(mesh, mesh.vertices, torch.zeros_like(view), bary, view, three))
    wanted = torch.tensor([2, 0, 1, 2])
    torch.testing.assert_close(seen.to_light_w[:, 0], -torch.nn.functional.normalize(directions, dim=1)[wanted])
    torch.testing.assert_close(seen.radiance[:, 0, 0], wanted + 1.0)
    # A camera without a number sees the first light.
    alone = light.sample(
        ShadingPoints(mesh, mesh.vertices, torch.zeros_like(view), bary, torch.zeros_like(view), cameras)
    )
    torch.testing.assert_close(alone.to_light_w, torch.tensor([[[0.0, 0.0, 1.0]]]))
