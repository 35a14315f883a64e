"""Environment maps: their directions, their prefiltered copies, and the lights that look them up."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from support.comparators import relative_l2
from support.shapes import bumpy, camera_at, oblique_cameras, placed, scene_of

from diffrender.errors import ShapeError
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS
from diffrender.ops.lat_long_uv import lat_long_uv
from diffrender.render.render import render
from diffrender.scene.environment.env_map import BLURS, EnvMap
from diffrender.scene.environment.prefilter import convolve_cosine, convolve_highlight, downsample
from diffrender.scene.environment.prefilter_lobes import highlight_kernel
from diffrender.scene.environment.sphere_directions import map_directions
from diffrender.scene.lights import Environment
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.shading_points import ShadingPoints

F64 = torch.float64


def smooth_map(height=32, dtype=F64):
    """Return a map whose radiance changes slowly with direction and is positive everywhere."""
    directions, _ = map_directions(height, 2 * height, torch.zeros((), dtype=F64))
    x, y, z = directions.unbind(1)
    colors = torch.stack([1 + 0.6 * x + 0.3 * y * z, 1 + 0.5 * y, 1.2 + 0.5 * z * x - 0.4 * z], 1)
    return colors.reshape(height, 2 * height, 3).to(dtype)


def peaked_map(height=32):
    """Return a dim map with a bright sun of about ten degrees."""
    directions, _ = map_directions(height, 2 * height, torch.zeros((), dtype=F64))
    sun = torch.nn.functional.normalize(torch.tensor([0.5, 0.7, 0.4], dtype=F64), dim=0)
    glow = 40 * torch.exp(60 * (directions @ sun - 1))
    return (0.2 + glow)[:, None].expand(-1, 3).reshape(height, 2 * height, 3).contiguous()


def random_directions(n=200):
    found = torch.randn(n, 3, generator=torch.Generator().manual_seed(5), dtype=F64)
    return torch.nn.functional.normalize(found, dim=1)


def test_the_map_is_seen_from_inside_with_x_in_the_middle():
    """Standing at the origin and looking along +x with +y up, what is to the right is to the right in the map."""
    forward, up = torch.tensor([1.0, 0, 0], dtype=F64), torch.tensor([0.0, 1, 0], dtype=F64)
    right = torch.linalg.cross(forward, up)
    places = lat_long_uv(torch.stack([forward, forward + right, forward + up]))
    torch.testing.assert_close(places, torch.tensor([[0.5, 0.5], [0.625, 0.5], [0.5, 0.25]], dtype=F64))


def test_texels_cover_the_sphere_and_lie_where_directions_are_found():
    directions, solid_angle = map_directions(16, 32, torch.zeros((), dtype=F64))
    assert float(solid_angle.sum()) == pytest.approx(4 * math.pi)
    u, v = lat_long_uv(directions).unbind(1)
    columns, rows = torch.meshgrid(torch.arange(32), torch.arange(16), indexing="xy")
    torch.testing.assert_close(u, (columns.reshape(-1).double() + 0.5) / 32)
    torch.testing.assert_close(v, (rows.reshape(-1).double() + 0.5) / 16)


def test_shrinking_keeps_the_flux():
    texels = torch.rand(64, 128, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    _, fine = map_directions(64, 128, texels)
    for height in (32, 16):
        small = downsample(texels, height)
        _, coarse = map_directions(height, 2 * height, texels)
        torch.testing.assert_close(
            (small.reshape(-1, 3) * coarse[:, None]).sum(0), (texels.reshape(-1, 3) * fine[:, None]).sum(0)
        )


@pytest.mark.parametrize("blur", [convolve_cosine, lambda texels: convolve_highlight(texels, 0.5)])
def test_blurring_is_the_mean_over_the_lobe(blur):
    """Compare with the sum over all texels, direction by direction."""
    texels = torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    directions, solid_angle = map_directions(16, 32, texels)
    kernel = (lambda c: c.clamp_min(0)) if blur is convolve_cosine else (lambda c: highlight_kernel(c, 0.5))
    weights = kernel(directions @ directions.T) * solid_angle
    expected = weights @ texels.reshape(-1, 3) / weights.sum(1, keepdim=True)
    torch.testing.assert_close(blur(texels).reshape(-1, 3), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(blur(torch.ones_like(texels)), torch.ones_like(texels), atol=1e-6, rtol=0)


@pytest.mark.parametrize("roughness", [0.0, 0.1, BLURS[0], 0.3, 0.8, 1.0])
def test_a_uniform_sky_looks_the_same_through_every_lobe(roughness):
    sky = EnvMap(torch.full((64, 128, 3), 0.7, dtype=F64)).prefiltered()
    found = sky.lobe(random_directions(), torch.tensor([[roughness]], dtype=F64), None)
    torch.testing.assert_close(found, torch.full_like(found, 0.7), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        sky.mean_radiance(random_directions(), None), torch.full_like(found, 0.7), atol=1e-6, rtol=0
    )


def test_between_the_map_and_its_first_blur_a_lobe_is_linear_in_roughness():
    sky, around = EnvMap(smooth_map(64)).prefiltered(), random_directions()
    ends = [sky.lobe(around, torch.tensor([[rough]], dtype=F64), None) for rough in (LEAST_ROUGHNESS, BLURS[0])]
    for share in (0.25, 0.5, 0.9):
        roughness = torch.tensor([[LEAST_ROUGHNESS + share * (BLURS[0] - LEAST_ROUGHNESS)]], dtype=F64)
        torch.testing.assert_close(sky.lobe(around, roughness, None), torch.lerp(*ends, share))


def test_look_ups_go_on_across_the_poles_and_the_seam():
    sky = EnvMap(smooth_map(64)).prefiltered()
    step = 1e-5
    for middle in ([0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [-1.0, 0.2, 0.0]):
        around = torch.tensor(middle, dtype=F64) + step * random_directions(50)
        around = torch.nn.functional.normalize(around, dim=1)
        for roughness in (0.0, 0.3, 1.0):
            found = sky.lobe(around, torch.tensor([[roughness]], dtype=F64), None)
            assert float((found - found.mean(0)).abs().max()) < 1e-3


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
def test_lobes_match_the_sum_over_the_map(roughness):
    texels = peaked_map(64)
    directions, solid_angle = map_directions(64, 128, texels)
    middle = random_directions()
    weights = highlight_kernel(middle @ directions.T, roughness) * solid_angle
    expected = weights @ texels.reshape(-1, 3) / weights.sum(1, keepdim=True)
    found = EnvMap(texels).prefiltered().lobe(middle, torch.tensor([[roughness]], dtype=F64), None)
    assert relative_l2(found, expected) < 0.03


def on_bumpy(n_points=60):
    mesh = bumpy(3, F64)
    generator = torch.Generator().manual_seed(0)
    face_id = torch.randint(mesh.n_faces, (n_points,), generator=generator)
    bary = torch.full((n_points, 3), 1 / 3, dtype=F64)
    surface = ShadingPoints(
        mesh, mesh.vertices, face_id, bary, torch.zeros_like(face_id), camera_at((0.0, 0.0, 3.0), dtype=F64)
    )
    seen = torch.nonzero((surface.normal_w * surface.to_camera_w).sum(1) > 0.15)[:, 0]
    return replace(surface, face_id=face_id[seen], where=bary[seen], view=torch.zeros_like(seen))


def material_of(metallic, roughness):
    values = torch.tensor([metallic], dtype=F64), torch.tensor([roughness], dtype=F64)
    return Ggx(torch.tensor([0.8, 0.6, 0.4], dtype=F64), *values)


@pytest.mark.parametrize(
    ("material", "at_most"),
    [
        (Lambert(torch.tensor([0.8, 0.6, 0.4], dtype=F64)), 0.01),
        (material_of(0.0, 0.2), 0.045),
        (material_of(0.0, 0.4), 0.025),
        (material_of(0.0, 0.8), 0.008),
        (material_of(1.0, 0.3), 0.03),
        (material_of(1.0, 0.6), 0.06),
        (material_of(1.0, 1.0), 0.1),
    ],
)
def test_environments_reflect_about_what_their_texels_do(material, at_most):
    surface, sky = on_bumpy(), Environment(EnvMap(peaked_map(64)), torch.tensor([0.2, 0.4, -0.1], dtype=F64))
    to_light, arriving = sky.sample(surface)
    summed = (material.evaluate(surface, to_light) * arriving).sum(1)
    assert relative_l2(sky.shade(surface, material), summed) < at_most


def test_turning_the_map_turns_what_is_seen():
    rotation = torch.tensor([0.5, -0.3, 0.9], dtype=F64)
    texels = smooth_map(64)
    surface = on_bumpy()
    normals = surface.normal_w
    turned = Environment(EnvMap(texels), rotation).mean_radiance(surface, normals @ axis_angle_to_matrix(rotation).T)
    torch.testing.assert_close(turned, Environment(EnvMap(texels)).mean_radiance(surface, normals))


def test_every_texel_has_its_gradient():
    """In an image of a rough ball-like mesh, compared with differences along random changes of the map."""
    scene_map = smooth_map(16, torch.float32)
    camera = oblique_cameras(1, 24)

    def image(texels):
        metal = Ggx(torch.full((3,), 0.7), torch.full((1,), 0.5), torch.full((1,), 0.4))
        scene = scene_of(placed(bumpy(2), metal), lights={"sky": Environment(EnvMap(texels))})
        return render(scene, camera).rgba[..., :3]

    texels = scene_map.clone().requires_grad_()
    weight = torch.randn(1, 24, 24, 3, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((image(texels) * weight).sum(), texels)
    assert bool((gradient.abs().sum(2) > 0).all())
    for seed in range(3):
        change = torch.randn(texels.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():  # the image is linear in the map
            difference = ((image(scene_map + change) - image(scene_map - change)) * weight).double().sum() / 2
        assert float((gradient * change).double().sum()) == pytest.approx(float(difference), rel=1e-3)


def test_a_map_that_is_learned_can_be_rendered_and_differentiated_again():
    texels = torch.ones(16, 32, 3, requires_grad=True)
    scene = scene_of(placed(bumpy(1), Lambert(torch.ones(3))), lights={"sky": Environment(EnvMap(texels))})
    with torch.no_grad():
        render(scene, oblique_cameras(1, 8))
    gradients = []
    for _ in range(2):
        (gradient,) = torch.autograd.grad(render(scene, oblique_cameras(1, 8)).rgba.sum(), texels)
        gradients.append(gradient)
    assert torch.equal(*gradients) and gradients[0].any()


def test_copies_of_a_fixed_map_are_kept():
    fixed = EnvMap(torch.ones(16, 32, 3))
    assert fixed.prefiltered() is fixed.prefiltered()


@pytest.mark.parametrize("shape", [(16, 16, 3), (20, 40, 3), (0, 0, 3)])
def test_maps_of_another_size_are_refused(shape):
    with pytest.raises(ShapeError, match=r"twice as wide as high, and their height a multiple of 16.*resize the map"):
        EnvMap(torch.ones(shape))


def test_directions_found_in_inference_mode_may_be_part_of_a_graph_later() -> None:
    texels = torch.rand(8, 16, 3, requires_grad=True)
    with torch.inference_mode():
        map_directions(8, 16, texels)
    directions, _ = map_directions(8, 16, texels)
    (texels.reshape(-1, 3) * directions).sum().backward()
    assert texels.grad is not None and torch.equal(texels.grad.reshape(-1, 3), directions)
