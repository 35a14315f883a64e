"""Priors on materials and lights: smoothness and whiteness, by hand and at any resolution."""

from __future__ import annotations

import pytest
import torch
from support.shapes import bumpy, square

from diffrender.errors import ConfigError
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.fit.regularizers.color_smoothness import ColorSmoothness
from diffrender.fit.regularizers.material_smoothness import MaterialSmoothness
from diffrender.fit.regularizers.white_light import WhiteLight
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import LIGHTS, Ambient, Directional, Environment
from diffrender.scene.materials import Ggx, Lambert, Phong, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import transfer_normal_map

PRIORS = ("color_smoothness", "material_smoothness", "white_light")
F64 = torch.float64


def scene_with(material, mesh=None, lights=None):
    return Scene({"it": Object(square() if mesh is None else mesh, material)}, lights or {})


def ramp(size, channels=3, low=0.0, high=1.0):
    """A texture with a ramp from low to high over its width."""
    u = (torch.arange(size) + 0.5) / size
    return Texture((low + (high - low) * u)[None, :, None].expand(size, size, channels).contiguous())


def halves(size, left, right):
    """A texture of two colours."""
    texels = torch.tensor(left).expand(size, size, len(left)).clone()
    texels[:, size // 2 :] = torch.tensor(right)
    return Texture(texels)


@pytest.mark.parametrize("name", PRIORS)
def test_uniform_materials_under_gray_lights_cost_nothing(name):
    lights = {kind: light() for kind, light in LIGHTS.items()}
    for material in (Ggx(), Phong(), Lambert(), Unlit(), Ggx(Texture(torch.full((4, 4, 3), 0.3)))):
        scene = scene_with(material, lights=lights)
        assert float(REGULARIZERS[name]()(scene)) == pytest.approx(0, abs=1e-6)
        assert float(REGULARIZERS[name]().bind(scene)(scene)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [16, 64, 256])
def test_a_ramp_from_black_to_white_costs_as_much_at_any_resolution(size):
    found = float(ColorSmoothness()(scene_with(Lambert(ramp(size)))))
    # Half the length of (1, 1, 1): the other half of the differences, along columns, are zero.
    assert found == pytest.approx(3**0.5 / 2, rel=0.15)


def test_a_step_costs_as_much_as_a_ramp():
    step = float(ColorSmoothness()(scene_with(Lambert(halves(64, [0.0] * 3, [1.0] * 3)))))
    slope = float(ColorSmoothness()(scene_with(Lambert(ramp(64)))))
    assert step == pytest.approx(slope, rel=0.15)


def test_colours_of_vertices_cost_about_what_they_do_on_finer_meshes():
    costs = []
    for subdivisions in (3, 4):
        mesh = bumpy(subdivisions)
        height = (mesh.vertices[:, 1:2] + 1) / 2
        costs.append(float(ColorSmoothness()(scene_with(Lambert(height.expand(-1, 3)), mesh))))
    assert costs[0] == pytest.approx(costs[1], rel=0.1) and costs[0] > 0.1


def test_only_texels_on_the_mesh_count_once_the_mesh_is_known():
    """A triangle covers the lower left half of the texture; changes in the upper right are not on the mesh."""
    corners = torch.tensor([[-0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0]])
    faces, uvs = torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 1], [1, 1], [0, 0]])
    mesh = Mesh(corners, faces, uvs, faces.clone())
    texels = torch.zeros(32, 32, 3)
    texels[:8, 24:] = 1.0
    scene = scene_with(Lambert(Texture(texels)), mesh)
    prior = ColorSmoothness()
    assert float(prior(scene)) > 0.05 and float(prior.bind(scene)(scene)) == 0
    texels[24:, :8] = 1.0
    assert float(prior.bind(scene)(scene)) > 0.05


def test_a_step_across_a_seam_counts_as_one_within_a_chart():
    """A square in two halves: adjacent in the texture, or apart."""
    corners = torch.tensor([[x, y, 0.0] for y in (-0.5, 0.5) for x in (-0.5, 0.0, 0.5)])
    faces = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])
    left = torch.tensor([[0.0, 0.5], [0.25, 0.5], [0.25, 0.0], [0.0, 0.0]])  # 0, 1, 4, 3
    whole, apart = (torch.cat([left, left + torch.tensor([shift, 0.0])]) for shift in (0.25, 0.625))
    uv_faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    costs = []
    for uvs, step in ((whole, 16), (apart, 32)):
        texels = torch.zeros(64, 64, 3)
        texels[:, step:] = 0.5  # between the halves
        scene = scene_with(Lambert(Texture(texels)), Mesh(corners, faces, uvs, uv_faces))
        costs.append(float(ColorSmoothness().bind(scene)(scene)))
    assert costs[0] > 0.1 and costs[1] == pytest.approx(costs[0], rel=0.05)
    rough = scene_with(Ggx(roughness=Texture(texels[:, :, :1].contiguous())), Mesh(corners, faces, apart, uv_faces))
    assert float(MaterialSmoothness().bind(rough)(rough)) == pytest.approx(costs[0] / 3**0.5, rel=0.05)


def test_one_tilt_costs_nothing_in_charts_that_are_turned_against_each_other():
    """A flat square in two halves; the second is apart in the texture, rotated by 90 degrees with its tangent frame."""
    corners = torch.tensor([[x, y, 0.0] for y in (-0.5, 0.5) for x in (-0.5, 0.0, 0.5)])
    faces = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])
    left = torch.tensor([[0.0, 0.5], [0.25, 0.5], [0.25, 0.0], [0.0, 0.0]])  # 0, 1, 4, 3
    turned = torch.tensor([[0.5, 0.0], [0.5, 0.25], [1.0, 0.25], [1.0, 0.0]])  # 1, 2, 5, 4
    uv_faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    whole = Mesh(corners, faces, torch.cat([left, left + torch.tensor([0.25, 0.0])]), uv_faces)
    apart = Mesh(corners, faces, torch.cat([left, turned]), uv_faces)
    tilt = Texture(torch.tensor([0.6, 0.0, 0.8]).expand(64, 64, 3).contiguous())
    for mesh, normal in ((whole, tilt), (apart, transfer_normal_map(tilt, whole, apart))):
        scene = scene_with(Ggx(normal=normal), mesh)
        assert float(MaterialSmoothness().bind(scene)(scene)) == pytest.approx(0, abs=1e-4)
    # Within a chart a change of tilt still costs.
    texels = tilt.texels.clone()
    texels[:, 8:] = torch.tensor([0.0, 0.0, 1.0])
    scene = scene_with(Ggx(normal=Texture(texels)), whole)
    assert float(MaterialSmoothness().bind(scene)(scene)) > 0.1


def test_roughness_may_change_where_the_chroma_does_and_not_where_only_the_brightness_does():
    rough = halves(32, [0.2], [0.8])
    none = float(MaterialSmoothness(chroma=0)(scene_with(Ggx(halves(32, [0.2] * 3, [0.8] * 3), roughness=rough))))
    brightness = float(MaterialSmoothness()(scene_with(Ggx(halves(32, [0.2] * 3, [0.8] * 3), roughness=rough))))
    red_and_blue = halves(32, [0.8, 0.1, 0.1], [0.1, 0.1, 0.8])
    chroma = float(MaterialSmoothness()(scene_with(Ggx(red_and_blue, roughness=rough))))
    assert brightness == pytest.approx(none, rel=1e-4) and chroma < 0.01 * none
    assert float(MaterialSmoothness(chroma=0)(scene_with(Ggx(red_and_blue, roughness=rough)))) == pytest.approx(none)


def test_chroma_of_another_resolution_and_of_vertices_is_heard_too():
    rough = halves(32, [0.2], [0.8])
    coarse = Ggx(halves(8, [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]), roughness=rough)
    same = Ggx(Texture(torch.full((8, 8, 3), 0.4)), roughness=rough)
    prior = MaterialSmoothness()
    assert float(prior(scene_with(coarse))) < 0.5 * float(prior(scene_with(same)))
    mesh = bumpy(3)
    is_left = mesh.vertices[:, :1] < 0
    rough = torch.where(is_left, 0.2, 0.8)
    colors = torch.where(is_left, torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.8]))
    two, one = Ggx(colors, roughness=rough), Ggx(torch.full_like(colors, 0.4), roughness=rough)
    assert float(prior(scene_with(two, mesh))) < 0.01 * float(prior(scene_with(one, mesh)))
    # If only one of the two is a texture, it is unknown where they change together.
    mixed = Ggx(colors[:4], roughness=halves(32, [0.2], [0.8]))
    assert float(prior(scene_with(mixed))) == pytest.approx(float(prior(scene_with(same))))


def test_shininess_counts_by_its_ratio():
    low, high = (Phong(shininess=halves(16, [n], [4 * n])) for n in (2.0, 50.0))
    prior = MaterialSmoothness()
    assert float(prior(scene_with(low))) == pytest.approx(float(prior(scene_with(high))), rel=1e-4)


def test_a_light_is_as_coloured_at_any_brightness():
    red = torch.tensor([3.0, 0.0, 0.0])
    for factor in (1e-2, 1.0, 1e3):
        assert float(WhiteLight()(scene_with(Lambert(), lights={"a": Ambient(factor * red)}))) == pytest.approx(4 / 3)
    texels = red.expand(16, 32, 3)
    lights = {"sky": Environment(EnvMap(texels)), "sun": Directional(radiance=torch.ones(3))}
    assert float(WhiteLight()(scene_with(Lambert(), lights=lights))) == pytest.approx(4 / 3)
    # A map is weighted by solid angle: rows near the poles are small.
    polar = torch.ones(16, 32, 3)
    polar[0] = red
    equator = torch.ones(16, 32, 3)
    equator[8] = red
    costs = [float(WhiteLight()(scene_with(Lambert(), lights={"s": Environment(EnvMap(m))}))) for m in (polar, equator)]
    assert costs[0] < 0.2 * costs[1]


@pytest.mark.parametrize("name", PRIORS)
def test_gradients_match_finite_differences(name):
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape):
        return (0.1 + 0.8 * torch.rand(*shape, generator=generator, dtype=F64)).requires_grad_()

    color, rough, shine, light = uniform(6, 6, 3), uniform(4, 4, 1), uniform(4, 1), uniform(16, 32, 3)
    mesh = square(F64)

    def cost(color, rough, shine, light):
        first = Object(
            mesh, Ggx(Texture(color), roughness=Texture(rough)), torch.eye(4).double(), torch.ones(()).double()
        )
        second = Object(mesh, Phong(shininess=shine), torch.eye(4).double(), torch.ones(()).double())
        lights = {"sky": Environment(EnvMap(light))}
        scene = Scene({"a": first, "b": second}, lights, torch.zeros(3, dtype=F64))
        # The weights from the chroma carry no gradient.
        prior = MaterialSmoothness(chroma=0) if name == "material_smoothness" else REGULARIZERS[name]()
        return prior.bind(scene)(scene)

    leaves = (color, rough, shine, light)
    value = cost(*leaves)
    assert float(value.detach()) > 0
    # The brightness of lights is a unit without gradient, so only their colour changes.
    tangents = [torch.randn(leaf.shape, generator=generator, dtype=F64) for leaf in leaves]
    tangents[3] = tangents[3] - tangents[3].mean(-1, keepdim=True)
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    found = sum(float((g * t).sum()) for g, t in zip(gradients, tangents, strict=True) if g is not None)
    step = 1e-6
    with torch.no_grad():
        ends = [cost(*(leaf + side * t for leaf, t in zip(leaves, tangents, strict=True))) for side in (step, -step)]
    assert found == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-4) and found != 0


def test_a_negative_chroma_is_refused():
    with pytest.raises(ConfigError, match="chroma must be at least 0"):
        MaterialSmoothness(chroma=-1)
