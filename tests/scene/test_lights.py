"""One suite over the whole shelf of lights, and each light's own law."""

import dataclasses
import math

import pytest
import torch
from support.shapes import bumpy, camera_at, square

from diffrender.scene.light import Light
from diffrender.scene.lights import LIGHTS, Ambient, Directional, Point
from diffrender.scene.materials import Lambert
from diffrender.scene.surface import Surface

F64 = torch.float64


def surface_of(mesh, n_points=50):
    generator = torch.Generator().manual_seed(0)
    face_id = torch.randint(mesh.n_faces, (n_points,), generator=generator)
    bary = torch.rand(n_points, 3, generator=generator, dtype=mesh.vertices.dtype) + 0.05
    bary = bary / bary.sum(1, keepdim=True)
    cameras = camera_at((0.0, 0.0, 3.0), dtype=mesh.vertices.dtype)
    return Surface(mesh, mesh.vertices, face_id, bary, torch.zeros_like(face_id), cameras)


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
    for item in dataclasses.fields(light):
        assert item.metadata["parametrization"] in ("positive", "direction", "identity")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(light, item.name, torch.ones(3))


def test_ambient_light_on_lambert_gives_base_colour_times_radiance():
    color, radiance = torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0.3, 2.0, 1.0])
    surface = surface_of(bumpy(2))
    to_light, arriving = Ambient(radiance).sample(surface)
    reflected = (Lambert(color).evaluate(surface, to_light) * arriving).sum(1)
    torch.testing.assert_close(reflected, (color * radiance).expand(50, 3))


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
    # Twice as far along one ray: a quarter of the light.
    point = surface.position_w[:1]
    ray = torch.tensor([0.2, 0.1, 1.0], dtype=F64)
    near, far = (Point(point[0] + factor * ray, intensity).sample(surface).radiance[0, 0] for factor in (1, 2))
    torch.testing.assert_close(near, 4 * far)


def test_point_light_conserves_power_through_any_ball_around_it():
    """The flux of an isotropic light through a sphere is 4 pi times its intensity, whatever the radius."""
    from diffrender.geometry.primitives import icosphere
    from diffrender.scene.mesh import Mesh

    vertices, faces = icosphere(4)
    for radius in (0.5, 3.0):
        mesh = Mesh((radius * vertices).double(), faces)
        face_id = torch.arange(len(faces))
        bary = torch.full((len(faces), 3), 1 / 3, dtype=F64)
        surface = Surface(
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


@pytest.mark.parametrize("name", LIGHTS)
def test_gradients_match_finite_differences(name):
    surface = surface_of(bumpy(1, F64), 5)
    start = LIGHTS[name]()
    fields = [item.name for item in dataclasses.fields(start)]
    values = [(getattr(start, item).double() + torch.tensor([0.1, 0.2, 0.3])).requires_grad_() for item in fields]

    def sampled(*tensors):
        samples = dataclasses.replace(start, **dict(zip(fields, tensors, strict=True))).sample(surface)
        return samples.to_light_w * samples.radiance

    assert torch.autograd.gradcheck(sampled, values)
