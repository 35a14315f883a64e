"""One suite over the table of materials, and each material's own law."""

import dataclasses
import math

import pytest
import torch
from support.comparators import relative_l2
from support.shapes import bumpy, camera_at, square

from diffrender.errors import ShapeError
from diffrender.ops.ggx.formulas import distribution, visibility
from diffrender.ops.ggx.formulas import look_up as tabulated
from diffrender.scene.lights import Ambient
from diffrender.scene.material import Material
from diffrender.scene.materials import MATERIALS, Ggx, Lambert, Phong, Unlit
from diffrender.scene.materials.tabulate_albedo import look_up
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.textures.texture import Texture

F64 = torch.float64
COLOR = torch.tensor([0.9, 0.5, 0.2], dtype=F64)
BARY = torch.tensor([[0.2, 0.3, 0.5]], dtype=F64)


def in_float64(material):
    changes = {
        name: getattr(material, name).double() for name in kinds_of(material) if getattr(material, name) is not None
    }
    return dataclasses.replace(material, **changes)


# Materials with maximal reflectances; each must still conserve energy.
WHITE = {name: [in_float64(material(base_color=torch.ones(3)))] for name, material in MATERIALS.items()} | {
    "phong": [
        Phong(torch.ones(3, dtype=F64), torch.full((3,), share, dtype=F64), torch.tensor([n], dtype=F64))
        for share in (0.2, 1.0)
        for n in (1.0, 20.0, 300.0)
    ],
    "ggx": [
        Ggx(torch.ones(3, dtype=F64), torch.tensor([metallic], dtype=F64), torch.tensor([roughness], dtype=F64))
        for metallic in (0.0, 0.5, 1.0)
        for roughness in (0.25, 0.5, 1.0)
    ],
}


def seen_from(to_camera, n_points=1, dtype=F64):
    """Return points at one position of a square with normal +z, seen from the direction `to_camera`."""
    mesh = square(dtype)
    face_id = torch.zeros(n_points, dtype=torch.int64)
    bary = BARY.to(dtype).repeat(n_points, 1)
    place = ShadingPoints(
        mesh, mesh.vertices, face_id, bary, face_id, camera_at((0.0, 0.1, 3.0), dtype=dtype)
    ).position_w[0]
    eye = place + 3 * torch.nn.functional.normalize(torch.as_tensor(to_camera, dtype=dtype), dim=0)
    return ShadingPoints(mesh, mesh.vertices, face_id, bary, face_id, camera_at(tuple(eye.tolist()), dtype=dtype))


def hemisphere(n=64):
    """Return a quadrature of the hemisphere around +z, denser at +z: directions [n^2, 3], solid angles [n^2]."""
    root = ((torch.arange(n, dtype=F64) + 0.5) / n)[:, None].expand(n, n)
    cosine = 1 - root**2
    angle = (2 * math.pi * (torch.arange(n, dtype=F64) + 0.5) / n)[None, :].expand(n, n)
    sine = (1 - cosine**2).sqrt()
    directions = torch.stack([sine * angle.cos(), sine * angle.sin(), cosine], -1).reshape(-1, 3)
    return directions, (4 * math.pi / n**2 * root).reshape(-1)


def reflected_of_white_sky(material, to_camera, n=256):
    """Integrate the [3] reflection of radiance 1 from all directions by quadrature."""
    directions, solid_angle = hemisphere(n)
    value = material.evaluate(seen_from(to_camera), directions[None]).expand(1, len(directions), 3)
    assert value.min() >= 0
    return (value * solid_angle[None, :, None]).sum(1)[0]


def tilted(cosine):
    return (math.sqrt(1 - cosine**2), 0.0, cosine)


@pytest.fixture(params=MATERIALS, name="material")
def material_on_the_shelf(request):
    return in_float64(MATERIALS[request.param](base_color=COLOR))


def test_quadrature_of_the_hemisphere_is_right():
    directions, solid_angle = hemisphere()
    assert float(solid_angle.sum()) == pytest.approx(2 * math.pi)
    assert float((solid_angle * directions[:, 2]).sum()) == pytest.approx(math.pi, rel=1e-3)


@pytest.mark.parametrize("name", MATERIALS)
@pytest.mark.parametrize("cosine", [0.999, 0.7, 0.4, 0.15])
def test_reflects_no_more_than_arrives(name, cosine):
    for white in WHITE[name]:
        assert reflected_of_white_sky(white, tilted(cosine)).max() <= 1.004, white


def test_reflects_nothing_from_below(material):
    directions, _ = hemisphere(8)
    value = material.evaluate(seen_from((0.5, 0.0, 3.0)), -directions[None])
    assert not value.any()


@pytest.mark.parametrize("name", MATERIALS)
def test_reciprocity(name):
    """BSDF(in, out) = BSDF(out, in): evaluate() includes the cosine towards the light, so divide by it."""
    directions, _ = hemisphere(5)

    def bsdf(material, to_light, to_camera):
        return material.evaluate(seen_from(to_camera), to_light[None, None]).expand(1, 1, 3)[0, 0] / to_light[2]

    for material in (in_float64(MATERIALS[name](base_color=COLOR)), WHITE[name][-1]):
        for i in range(0, 25, 3):
            for j in range(1, 25, 4):
                there, back = (bsdf(material, directions[a], directions[b]) for a, b in ((i, j), (j, i)))
                torch.testing.assert_close(there, back, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MATERIALS)
@pytest.mark.parametrize("cosine", [0.999, 0.7, 0.3])
def test_lobes_reflect_as_much_of_a_white_sky_as_directions_do(name, cosine):
    for material in (*WHITE[name], in_float64(MATERIALS[name](base_color=COLOR))):
        surface = seen_from(tilted(cosine))
        found = Ambient(torch.ones(3, dtype=F64)).shade(surface, material).expand(1, 3)[0]
        torch.testing.assert_close(found, reflected_of_white_sky(material, tilted(cosine)), atol=6e-3, rtol=0)


@pytest.mark.parametrize("name", MATERIALS)
def test_reflectance_is_that_of_all_lobes_together(name):
    for material in (*WHITE[name], in_float64(MATERIALS[name](base_color=COLOR))):
        for cosine in (0.999, 0.4, 0.01):
            surface = seen_from(tilted(cosine))
            _, diffuse, glossy = material.lobes(surface)
            together = diffuse if glossy is None else diffuse + glossy.weight.sum(1)
            torch.testing.assert_close(material.albedo(surface), together)
            if glossy is not None:
                lengths = glossy.direction_w.norm(dim=2)
                torch.testing.assert_close(lengths, torch.ones_like(lengths))


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_tables_are_looked_up_as_textures(backend):
    generator = torch.Generator().manual_seed(0)
    table = torch.rand(5, 9, 3, generator=generator, dtype=F64)
    # Inside, on the borders, beyond them, and exactly at entries.
    ends = torch.tensor([[-0.2, 0.5], [1.3, 0.5], [0.5, -0.1], [0.5, 1.2], [0.0, 0.0], [1.0, 1.0], [0.25, 0.25]])
    where = torch.cat([torch.rand(50, 2, generator=generator), ends]).double()
    results = []
    for function in (lambda *places: look_up(table, *places, backend), lambda *places: tabulated(table, *places)):
        places = [part.clone().requires_grad_() for part in where.split(1, 1)]
        found = function(*places)
        results.append((found, *torch.autograd.grad(found[:50].square().sum(), places)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    one_row = look_up(table, where[:1, :1], where[:, 1:], backend)
    torch.testing.assert_close(one_row, tabulated(table, where[:1, :1].expand(57, 1), where[:, 1:]))


def test_the_shelf_is_of_frozen_materials_with_learnable_fields(material):
    assert isinstance(material, Material)
    possible = {"unit_interval", "positive", "identity", "direction"}
    assert {kind.parametrization for kind in kinds_of(material).values()} <= possible
    for item in dataclasses.fields(material):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(material, item.name, COLOR)
    assert type(material)() is not None  # every field has a default


def quantities(name):
    """Return every field of a material with a value other than its default, as uniform [C]."""
    generator = torch.Generator().manual_seed(1)
    values = {}
    for field, kind in kinds_of(MATERIALS[name]).items():
        values[field] = 0.3 + 0.4 * torch.rand(kind.channels, generator=generator, dtype=F64)
    if "normal" in values:
        values["normal"] = torch.tensor([0.2, -0.1, 0.9], dtype=F64)
    if "shininess" in values:
        values["shininess"] = torch.tensor([12.0], dtype=F64)
    return values


def shown(material, surface, to_light):
    """Return the [M, 3] radiance towards the camera under one direction of light and a gray environment."""
    total = Ambient(torch.full((3,), 0.3, dtype=to_light.dtype)).shade(surface, material)
    if material.needs_light:
        total = total + material.evaluate(surface, to_light).sum(1)
    emitted = material.emitted(surface)
    return (total if emitted is None else total + emitted).expand(len(surface), 3)


@pytest.mark.parametrize("name", MATERIALS)
def test_every_quantity_may_be_uniform_per_vertex_or_a_texture(name):
    surface = seen_from((0.5, 0.3, 1.0), 2)
    light = torch.nn.functional.normalize(torch.tensor([[[0.4, -0.2, 1.0]]], dtype=F64), dim=-1)
    values = quantities(name)
    everywhere = shown(MATERIALS[name](**values), surface, light)
    for field, value in values.items():
        for form in (value.expand(4, -1).contiguous(), Texture(value.expand(2, 5, -1).contiguous())):
            torch.testing.assert_close(shown(MATERIALS[name](**values | {field: form}), surface, light), everywhere)


@pytest.mark.parametrize("form", ["uniform", "vertex", "texture"])
@pytest.mark.parametrize("name", MATERIALS)
def test_gradients_of_every_quantity_match_finite_differences(name, form):
    """Compare float64 with finite differences, and float32, with the kernels, with float64."""
    to_camera, direction = (0.5, 0.3, 1.0), [[[0.4, -0.2, 1.0]], [[-0.1, 0.5, 0.8]], [[0.3, 0.2, 0.6]]]
    generator = torch.Generator().manual_seed(3)

    def spread(value):
        rows = {"uniform": (), "vertex": (4,), "texture": (2, 3)}[form]
        noise = 1 + 0.1 * torch.randn(*rows, len(value), generator=generator, dtype=F64)
        return (value * noise).contiguous()

    names, leaves = zip(*((field, spread(value)) for field, value in quantities(name).items()), strict=True)
    weight = torch.randn(3, 3, generator=generator, dtype=F64)

    def total(dtype, backend, *tensors):
        values = {
            field: Texture(tensor) if form == "texture" else tensor
            for field, tensor in zip(names, tensors, strict=True)
        }
        surface = dataclasses.replace(seen_from(to_camera, 3, dtype), backend=backend)
        light = torch.nn.functional.normalize(torch.tensor(direction, dtype=dtype), dim=-1)
        return (shown(MATERIALS[name](**values), surface, light) * weight.to(dtype)).sum()

    exact = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(lambda *tensors: total(F64, "reference", *tensors), exact)
    expected = torch.autograd.grad(total(F64, "reference", *exact), exact)
    rough = [leaf.detach().float().requires_grad_() for leaf in leaves]
    found = torch.autograd.grad(total(torch.float32, "numba", *rough), rough)
    for field, actual, wanted in zip(names, found, expected, strict=True):
        assert bool(wanted.any()), field
        assert relative_l2(actual, wanted) < 1e-3, field


def test_lambert_by_hand():
    to_light = torch.tensor([[[0.0, 0.6, 0.8]]], dtype=F64)
    value = Lambert(COLOR).evaluate(seen_from((0.5, 0.0, 3.0)), to_light)
    torch.testing.assert_close(value[0, 0], COLOR * 0.8 / math.pi)
    assert Lambert(COLOR).emitted(seen_from((0.5, 0.0, 3.0))) is None and Lambert.needs_light


def test_lambert_reflects_its_base_colour_of_a_uniform_sky():
    torch.testing.assert_close(reflected_of_white_sky(Lambert(COLOR), tilted(0.6)), COLOR, rtol=1e-3, atol=0)


def test_unlit_shows_its_base_colour_and_reflects_nothing():
    surface = seen_from((0.5, 0.0, 3.0))
    torch.testing.assert_close(Unlit(COLOR).emitted(surface)[0], COLOR)
    assert not Unlit(COLOR).evaluate(surface, torch.ones(1, 1, 3)).any() and not Unlit.needs_light


def test_ggx_by_hand():
    """A metal under light and camera 30 degrees to either side: h = n, v.h = cos 30."""
    light = torch.tensor([[[-0.5, 0.0, math.sqrt(0.75)]]], dtype=F64)
    cosine, alpha = math.sqrt(0.75), 0.4**2
    metal = Ggx(COLOR, torch.ones(1, dtype=F64), torch.tensor([0.4], dtype=F64))
    fresnel = COLOR + (1 - COLOR) * (1 - cosine) ** 5
    root = math.sqrt(alpha**2 + (1 - alpha**2) * cosine**2)
    expected = fresnel / (math.pi * alpha**2) / (4 * cosine * root) * cosine
    torch.testing.assert_close(metal.evaluate(seen_from((0.5, 0.0, math.sqrt(0.75))), light)[0, 0], expected)


def test_a_white_dielectric_reflects_all_that_arrives():
    for roughness in (0.3, 0.6, 1.0):
        white = Ggx(torch.ones(3, dtype=F64), roughness=torch.tensor([roughness], dtype=F64))
        for cosine in (0.99, 0.5, 0.2):
            found = reflected_of_white_sky(white, tilted(cosine))
            torch.testing.assert_close(found, torch.ones(3, dtype=F64), atol=5e-3, rtol=0)


def test_a_rough_dielectric_is_nearly_lambert():
    directions, _ = hemisphere(12)
    inside = directions[directions[:, 2] > 0.3][None]
    surface = seen_from(tilted(0.7))
    rough = Ggx(COLOR, roughness=torch.ones(1, dtype=F64)).evaluate(surface, inside)
    assert relative_l2(rough, Lambert(COLOR).evaluate(surface, inside)) < 0.06


def test_a_smooth_metal_is_nearly_a_mirror():
    """Its directional albedo is its colour by Schlick, and it reflects from near the mirror direction."""
    metal = Ggx(COLOR, torch.ones(1, dtype=F64), torch.full((1,), 0.15, dtype=F64))
    cosine = 0.8
    found = Ambient(torch.ones(3, dtype=F64)).shade(seen_from(tilted(cosine)), metal)[0]
    torch.testing.assert_close(found, COLOR + (1 - COLOR) * (1 - cosine) ** 5, atol=5e-3, rtol=0)
    glossy = metal.lobes(seen_from(tilted(cosine))).glossy
    mirrored = torch.tensor([-0.6, 0.0, 0.8], dtype=F64)
    middle = (glossy.weight.mean(2, keepdim=True) * glossy.direction_w).sum((0, 1))
    assert float(torch.nn.functional.normalize(middle, dim=0) @ mirrored) > math.cos(math.radians(1))


def test_roughness_below_the_least_shades_as_the_least():
    surface = seen_from((0.5, 0.0, 1.0))
    light = torch.tensor([[[-0.43, 0.0, 0.9]]], dtype=F64)
    light = torch.nn.functional.normalize(light, dim=-1)
    zero, least = (Ggx(COLOR, roughness=torch.tensor([r], dtype=F64)).evaluate(surface, light) for r in (0.0, 0.045))
    assert torch.equal(zero, least) and zero.isfinite().all()


def test_microfacets_are_normalised():
    """The projected area of the facets is that of the surface; masking leaves exactly the visible area (Smith)."""
    directions, solid_angle = hemisphere(400)
    for alpha in (0.1, 0.3, 1.0):
        alpha = torch.tensor(alpha, dtype=F64)
        density = distribution(alpha, 1 - directions[:, 2] ** 2)
        assert float((density * directions[:, 2] * solid_angle).sum()) == pytest.approx(1, abs=5e-3)
        # V is symmetric, and 1 / 4 for light and camera at the normal.
        one, other = torch.tensor(0.3, dtype=F64), torch.tensor(0.8, dtype=F64)
        assert torch.equal(visibility(alpha, one, other), visibility(alpha, other, one))
        assert float(visibility(alpha, torch.ones((), dtype=F64), torch.ones((), dtype=F64))) == pytest.approx(0.25)


def test_highlights_are_precise_in_float32():
    """The value of a narrow highlight near its centre, where 1 - (n.h)^2 would cancel all digits."""
    for angle in (0.0, 1e-3, 3e-3):
        light = [[[math.sin(2 * angle), 0.0, math.cos(2 * angle)]]]
        values = [
            Ggx(COLOR.to(dtype), torch.ones(1, dtype=dtype), torch.tensor([0.05], dtype=dtype)).evaluate(
                seen_from((0.0, 1e-9, 1.0), dtype=dtype), torch.tensor(light, dtype=dtype)
            )
            for dtype in (torch.float32, F64)
        ]
        torch.testing.assert_close(values[0].double(), values[1], rtol=2e-3, atol=0)


def test_phong_by_hand():
    light = torch.tensor([[[0.0, 0.6, 0.8]]], dtype=F64)
    phong = Phong(COLOR, torch.full((3,), 0.25, dtype=F64), torch.tensor([4.0], dtype=F64))
    half = torch.nn.functional.normalize(torch.tensor([0.0, 0.6, 1.8], dtype=F64), dim=0)[2]
    highlight = 6 * 8 / (8 * math.pi * (0.25 + 4)) * half**4
    expected = (0.25 * highlight + 0.75 * COLOR / math.pi) * 0.8
    found = phong.evaluate(seen_from((0.0, 1e-12, 1.0)), light)[0, 0]
    torch.testing.assert_close(found, expected)


def test_emissive_surfaces_shine_without_light():
    surface = seen_from((0.5, 0.0, 1.0))
    assert Ggx().emitted(surface) is None
    assert torch.equal(Ggx(emissive=2 * COLOR).emitted(surface)[0], 2 * COLOR)


@pytest.mark.parametrize("material", [Lambert, Phong, Ggx])
def test_a_flat_normal_map_changes_nothing_and_a_tilted_one_turns_the_normal(material):
    surface = seen_from((0.5, 0.3, 1.0))
    light = torch.nn.functional.normalize(torch.tensor([[[0.4, -0.2, 1.0]]]).double(), dim=-1)
    plain = in_float64(material())
    flat = dataclasses.replace(plain, normal=torch.tensor([0.0, 0.0, 2.0], dtype=F64))
    torch.testing.assert_close(shown(flat, surface, light), shown(plain, surface, light))
    tilt = dataclasses.replace(plain, normal=torch.tensor([0.6, 0.0, 0.8], dtype=F64))
    # On the square u grows with x and the image's upper edge is at +y.
    torch.testing.assert_close(tilt.lobes(surface).normal_w[0], torch.tensor([0.6, 0.0, 0.8], dtype=F64))
    up = dataclasses.replace(plain, normal=torch.tensor([0.0, 0.6, 0.8], dtype=F64))
    torch.testing.assert_close(up.lobes(surface).normal_w[0], torch.tensor([0.0, 0.6, 0.8], dtype=F64))


@pytest.mark.parametrize("name", MATERIALS)
def test_gradients_are_finite_where_light_and_view_graze(name):
    mesh = bumpy(1, torch.float64)
    vertices = mesh.vertices.clone().requires_grad_()
    face_id = torch.arange(mesh.n_faces)
    bary = torch.full((mesh.n_faces, 3), 1 / 3, dtype=F64)
    surface = ShadingPoints(
        mesh, vertices, face_id, bary, torch.zeros_like(face_id), camera_at((0.0, 0.0, 3.0), dtype=F64)
    )
    material = in_float64(MATERIALS[name]())
    value = shown(material, surface, torch.tensor([[[1.0, 0, 0]]], dtype=F64))
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value.sum(), vertices)
        assert gradient.isfinite().all() and gradient.any()
    else:
        assert name == "unlit"


@pytest.mark.parametrize("material", [Lambert, Phong, Ggx, Unlit])
@pytest.mark.parametrize(
    "color", [torch.zeros(2), torch.zeros(1), torch.zeros(()), torch.zeros(5, 4), Texture(torch.zeros(2, 2, 1))]
)
def test_colors_of_another_shape_are_refused(material, color):
    with pytest.raises(ShapeError, match=rf"{material.__name__}: base_color.* must have shape \[.*3\], got"):
        material(color)


@pytest.mark.parametrize("field", ["metallic", "roughness", "normal", "emissive"])
def test_other_quantities_of_another_shape_are_refused(field):
    with pytest.raises(ShapeError, match=rf"Ggx: {field}.* must have shape"):
        Ggx(**{field: torch.zeros(2)})


def test_a_normal_map_wants_texture_coordinates():
    mesh = bumpy(0, torch.float64)
    none = torch.zeros(1, dtype=torch.int64)
    surface = ShadingPoints(mesh, mesh.vertices, none, BARY, none, camera_at((0.0, 0.0, 3.0), dtype=F64))
    with pytest.raises(ShapeError, match="a normal map needs a mesh with texture coordinates"):
        Lambert(COLOR, normal=torch.tensor([0.0, 0.0, 1.0], dtype=F64)).lobes(surface)
