"""One suite over the whole shelf of materials."""

import dataclasses
import math

import pytest
import torch
from support.shapes import bumpy, camera_at, square

from diffrender.errors import ShapeError
from diffrender.scene.material import Material
from diffrender.scene.materials import MATERIALS, Lambert, Unlit
from diffrender.scene.surface import Surface
from diffrender.scene.texture import Texture

F64 = torch.float64
COLOR = torch.tensor([0.9, 0.5, 0.2], dtype=F64)


def flat_surface(n_points=1, dtype=F64):
    """Points of a square whose normal is +z, seen from above."""
    mesh = square(dtype)
    face_id = torch.zeros(n_points, dtype=torch.int64)
    bary = torch.tensor([[0.2, 0.3, 0.5]], dtype=dtype).repeat(n_points, 1)
    return Surface(mesh, mesh.vertices, face_id, bary, face_id, camera_at((0.5, 0.0, 3.0), dtype=dtype))


def hemisphere(n=64):
    """Quadrature of the hemisphere around +z: directions [n^2, 3] and solid angles [n^2] (midpoint in cosine)."""
    cosine = ((torch.arange(n, dtype=F64) + 0.5) / n)[:, None].expand(n, n)
    angle = (2 * math.pi * (torch.arange(n, dtype=F64) + 0.5) / n)[None, :].expand(n, n)
    sine = (1 - cosine**2).sqrt()
    directions = torch.stack([sine * angle.cos(), sine * angle.sin(), cosine], -1).reshape(-1, 3)
    return directions, torch.full((n * n,), 2 * math.pi / n**2, dtype=F64)


@pytest.fixture(params=MATERIALS, name="material")
def material_on_the_shelf(request):
    return MATERIALS[request.param](base_color=COLOR)


def test_quadrature_of_the_hemisphere_is_right():
    directions, solid_angle = hemisphere()
    assert float(solid_angle.sum()) == pytest.approx(2 * math.pi)
    assert float((solid_angle * directions[:, 2]).sum()) == pytest.approx(math.pi)


def test_reflects_no_more_than_arrives(material):
    directions, solid_angle = hemisphere()
    white = dataclasses.replace(material, base_color=torch.ones(3, dtype=F64))
    value = white.evaluate(flat_surface(), directions[None]).expand(1, len(directions), 3)
    reflected = (value * solid_angle[None, :, None]).sum(1)
    assert value.min() >= 0 and reflected.max() <= 1 + 1e-9


def test_reflects_nothing_from_below(material):
    directions, _ = hemisphere(8)
    value = material.evaluate(flat_surface(), -directions[None])
    assert not value.any()


def test_reciprocity(material):
    """BSDF(in, out) = BSDF(out, in): evaluate() carries the cosine towards the light, so divide it out."""
    directions, _ = hemisphere(5)
    mesh = square(torch.float64)
    point = flat_surface().position_w[0]

    def bsdf(to_light, to_camera):
        none = torch.zeros(1, dtype=torch.int64)
        bary = torch.tensor([[0.2, 0.3, 0.5]], dtype=F64)
        surface = Surface(
            mesh, mesh.vertices, none, bary, none, camera_at(tuple((point + 3 * to_camera).tolist()), dtype=F64)
        )
        return material.evaluate(surface, to_light[None, None]).expand(1, 1, 3)[0, 0] / to_light[2]

    for i in range(0, 25, 3):
        for j in range(1, 25, 4):
            there, back = bsdf(directions[i], directions[j]), bsdf(directions[j], directions[i])
            torch.testing.assert_close(there, back, rtol=1e-12, atol=1e-12)


def test_the_shelf_is_of_frozen_materials_with_learnable_fields(material):
    assert isinstance(material, Material)
    for item in dataclasses.fields(material):
        assert item.metadata["parametrization"] in ("unit_interval", "positive", "identity", "direction")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(material, item.name, COLOR)
    assert type(material)() is not None  # every field has a default


def test_base_colour_may_be_uniform_per_vertex_or_a_texture(material):
    surface = flat_surface(2)
    light = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=F64)

    def shown(color):
        changed = dataclasses.replace(material, base_color=color)
        emitted = changed.emitted(surface)
        total = changed.evaluate(surface, light).sum(1) if changed.needs_light else emitted
        return total.expand(2, 3)

    everywhere = shown(COLOR)
    torch.testing.assert_close(shown(COLOR.expand(4, 3).contiguous()), everywhere)
    torch.testing.assert_close(shown(Texture(COLOR.expand(2, 5, 3).contiguous())), everywhere)


def test_lambert_by_hand():
    to_light = torch.tensor([[[0.0, 0.6, 0.8]]], dtype=F64)
    value = Lambert(COLOR).evaluate(flat_surface(), to_light)
    torch.testing.assert_close(value[0, 0], COLOR * 0.8 / math.pi)
    assert Lambert(COLOR).emitted(flat_surface()) is None and Lambert.needs_light


def test_lambert_reflects_its_base_colour_of_a_uniform_sky():
    directions, solid_angle = hemisphere()
    value = Lambert(COLOR).evaluate(flat_surface(), directions[None])
    torch.testing.assert_close((value * solid_angle[None, :, None]).sum(1)[0], COLOR)


def test_unlit_shows_its_base_colour_and_reflects_nothing():
    torch.testing.assert_close(Unlit(COLOR).emitted(flat_surface())[0], COLOR)
    assert not Unlit(COLOR).evaluate(flat_surface(), torch.ones(1, 1, 3)).any() and not Unlit.needs_light


def test_gradients_of_lambert_are_finite_where_light_grazes():
    mesh = bumpy(1, torch.float64)
    vertices = mesh.vertices.clone().requires_grad_()
    face_id = torch.arange(mesh.n_faces)
    bary = torch.full((mesh.n_faces, 3), 1 / 3, dtype=F64)
    surface = Surface(mesh, vertices, face_id, bary, torch.zeros_like(face_id), camera_at((0.0, 0.0, 3.0), dtype=F64))
    value = Lambert(COLOR).evaluate(surface, torch.tensor([[[1.0, 0, 0]]], dtype=F64))
    (gradient,) = torch.autograd.grad(value.sum(), vertices)
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize("material", [Lambert, Unlit])
@pytest.mark.parametrize(
    "color", [torch.zeros(2), torch.zeros(1), torch.zeros(()), torch.zeros(5, 4), Texture(torch.zeros(2, 2, 1))]
)
def test_colors_of_another_shape_are_refused(material, color):
    with pytest.raises(ShapeError, match=rf"{material.__name__}: base_color.* must have shape \[.*3\], got"):
        material(color)
