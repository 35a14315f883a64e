from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.comparators import psnr_of
from support.shapes import bumpy, flat_camera, placed, scene_of, smooth_colors, square
from torch import Tensor

from diffrender.config.options.material_inputs import Pattern
from diffrender.config.options.value_types import Albedo
from diffrender.errors import ShapeError
from diffrender.geometry.primitives import bumpy_sphere
from diffrender.geometry.topology import Topology
from diffrender.imaging.inpaint import fill_nearest
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.bake import bake_to_texture, bake_to_vertices, complete_texture, unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture
from diffrender.setup.material_inputs import patches


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return unwrap_mesh(bumpy(3), 256)


def seam_sides(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Return the uv of the midpoint of each seam edge on its two sides, [S, 2] each."""
    assert mesh.uv_faces is not None and mesh.uvs is not None
    sides: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for corners, uv_corners in zip(mesh.faces.tolist(), mesh.uv_faces.tolist(), strict=True):
        for i in range(3):
            a, b = (corners[i], uv_corners[i]), (corners[(i + 1) % 3], uv_corners[(i + 1) % 3])
            (v0, t0), (v1, t1) = sorted((a, b))
            sides.setdefault((v0, v1), []).append((t0, t1))
    seams = [pair for pair in sides.values() if len(pair) == 2 and pair[0] != pair[1]]
    ends = torch.tensor(seams)
    middles = mesh.uvs[ends].mean(2)
    return middles[:, 0], middles[:, 1]


def test_unwrapping_leaves_the_mesh_as_it_is(mesh: Mesh) -> None:
    plain = bumpy(3)
    assert torch.equal(mesh.vertices, plain.vertices) and torch.equal(mesh.faces, plain.faces)
    assert mesh.topology.is_closed and mesh.uvs is not None and len(mesh.uvs) > mesh.n_vertices  # seams


def test_vertex_colours_survive_a_texture(mesh: Mesh) -> None:
    colors = smooth_colors(mesh.vertices)
    texture = bake_to_texture(mesh, colors, 256)
    assert psnr_of(bake_to_vertices(mesh, texture), colors) > 60
    noise = torch.rand(mesh.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    assert psnr_of(bake_to_vertices(mesh, bake_to_texture(mesh, noise, 256)), noise) > 45


def test_a_smooth_texture_survives_vertex_colours(mesh: Mesh) -> None:
    texels_of = texel_map(mesh, 256, 256)
    texels = torch.zeros(256, 256, 3)
    texels[texels_of.covered] = smooth_colors(texels_of.values(mesh.vertices, mesh.faces))
    again = bake_to_texture(mesh, bake_to_vertices(mesh, Texture(texels)), 256).texels
    assert psnr_of(again[texels_of.covered], texels[texels_of.covered]) > 38


def test_a_baked_texture_looks_like_the_vertex_colours(mesh: Mesh) -> None:
    colors = smooth_colors(mesh.vertices)
    camera = flat_camera(96, 96, view_height=2.4)
    by_vertex = render(scene_of(placed(mesh, Unlit(colors))), camera, Hard()).rgba
    by_texture = render(scene_of(placed(mesh, Unlit(bake_to_texture(mesh, colors, 256)))), camera, Hard()).rgba
    assert psnr_of(by_texture, by_vertex) > 38


def test_baking_by_hand() -> None:
    values = torch.tensor([[0.0], [1.0], [1.0], [0.0]])  # on the left 0, on the right 1
    texture = bake_to_texture(square(), values, 4)
    torch.testing.assert_close(texture.texels[:, :, 0], torch.tensor([0.125, 0.375, 0.625, 0.875]).expand(4, 4))
    torch.testing.assert_close(bake_to_vertices(square(), texture), values, atol=1e-4, rtol=0)
    # One texel for two triangles, without a vertex near it: vertices take what bilinear sampling gives there.
    assert bake_to_vertices(square(), Texture(torch.full((1, 1, 2), 0.7))).tolist() == [[pytest.approx(0.7)] * 2] * 4


def test_both_sides_of_a_seam_show_the_same(mesh: Mesh) -> None:
    """At every seam, at the finest level and two coarser ones: gutters contain no background."""
    left, right = seam_sides(mesh)
    assert len(left) > 50
    texture = bake_to_texture(mesh, smooth_colors(mesh.vertices), 256)
    holes = texture.texels.where(texel_map(mesh, 256, 256).covered[:, :, None], 50.0)  # as if no gutter were filled
    for width, largest in ((1.0, 0.05), (2.0, 0.1), (4.0, 0.25)):
        footprint = torch.full((len(left),), width)
        a, b = (texture.sample(side, footprint) for side in (left, right))
        assert float((a - b).abs().max()) < largest
        bleeding = Texture(holes).sample(left, footprint)
        assert float((bleeding - a).abs().max()) > 1


def chart_of_faces(mesh: Mesh) -> Tensor:
    """Return the [F] chart index of each face."""
    assert mesh.uv_faces is not None
    return Topology(mesh.uv_faces).face_component


def test_charts_hardly_mix_where_textures_are_seen_from_far(mesh: Mesh) -> None:
    """Compare with each chart in its own texture, at increasingly coarse levels: gutters separate neighbours."""
    colors = patches(mesh, Pattern[Albedo](between=((0.02, 0.02, 0.6), (0.9, 0.8, 0.05)), size=0.4), 256)
    texels_of, chart = texel_map(mesh, 256, 256), chart_of_faces(mesh)
    assert mesh.uvs is not None and mesh.uv_faces is not None and int(chart.max()) > 8
    bary = torch.rand(mesh.n_faces, 3, generator=torch.Generator().manual_seed(0))
    places = (mesh.uvs[mesh.uv_faces] * (bary / bary.sum(1, keepdim=True))[:, :, None]).sum(1)
    chart_of_texel = torch.full((256, 256), -1)
    chart_of_texel[texels_of.covered] = chart[texels_of.face_id]
    for width, largest_mean in ((1.0, 1e-6), (2.0, 1e-6), (4.0, 0.001), (8.0, 0.01)):
        footprint = torch.full((mesh.n_faces,), width)
        apart = torch.zeros(mesh.n_faces, 3)
        for each in chart.unique():
            alone = Texture(fill_nearest(colors.texels, chart_of_texel == each))
            apart[chart == each] = alone.sample(places[chart == each], footprint[chart == each])
        assert float((colors.sample(places, footprint) - apart).abs().mean()) < largest_mean


def test_a_seam_is_learned_from_both_sides(mesh: Mesh) -> None:
    """The texels of each side receive the full gradient, and agree after both sides have learned the same colour."""
    left, right = seam_sides(mesh)
    places = torch.cat([left, right])
    covered = texel_map(mesh, 256, 256).covered
    wanted = bake_to_texture(mesh, smooth_colors(mesh.vertices), 256).sample(left)
    texels = torch.full((256, 256, 3), 0.5, requires_grad=True)
    for side in (left, right):
        (gradient,) = torch.autograd.grad(Texture(texels).sample(side).sum(), texels)
        assert float(gradient.sum()) == pytest.approx(3 * len(side), rel=1e-4)  # nothing is lost at the border
        assert bool(((gradient[..., 0] > 0) & ~covered).any())  # gutters take part, so charts end without a dark rim
    optimizer = torch.optim.Adam([texels], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (Texture(texels).sample(places) - wanted.repeat(2, 1)).square().sum().backward()
        optimizer.step()
    with torch.no_grad():
        a, b = (Texture(texels).sample(side) for side in (left, right))
    assert float((a - b).abs().max()) < 0.05 and float((a - wanted).abs().mean()) < 0.01


def test_unseen_parts_are_filled_smoothly_and_known_texels_kept(mesh: Mesh) -> None:
    colors = smooth_colors(mesh.vertices)
    truth = bake_to_texture(mesh, colors, 256).texels
    texels_of = texel_map(mesh, 256, 256)
    points = texels_of.values(mesh.vertices, mesh.faces)
    known = texels_of.covered.clone()
    known[texels_of.covered] = (points - torch.tensor([0.0, 0.0, 0.7])).norm(dim=1) > 0.35  # a patch is never seen
    assert 0.02 < 1 - float(known.sum() / texels_of.covered.sum()) < 0.3
    spoilt = Texture(torch.where(known[:, :, None], truth, 9.0))
    filled = complete_texture(mesh, spoilt, known).texels
    assert torch.equal(filled[known], truth[known])
    assert float((filled - truth).abs().max()) < 0.5  # far from 9, and near what a smooth surface would have there
    hole = texels_of.covered & ~known
    assert float((filled - truth)[hole].abs().mean()) < 0.12
    left, right = seam_sides(mesh)
    assert float((Texture(filled).sample(left) - Texture(filled).sample(right)).abs().max()) < 0.1


def test_a_texture_of_which_nothing_is_known_stays(mesh: Mesh) -> None:
    texture = Texture(torch.full((64, 64, 3), 0.25))
    assert torch.equal(complete_texture(mesh, texture, torch.zeros(64, 64, dtype=torch.bool)).texels, texture.texels)


def test_repeated_texture_coordinates_find_their_texels() -> None:
    plain = square()
    assert plain.uvs is not None
    moved = replace(plain, uvs=plain.uvs + torch.tensor([3.0, -2.0]))
    assert bool(texel_map(moved, 8, 8).covered.all())
    assert torch.equal(texel_map(moved, 8, 8).face_id, texel_map(plain, 8, 8).face_id)


def test_mistakes_are_named() -> None:
    plain = Mesh(*bumpy_sphere(1))
    with pytest.raises(ShapeError, match="the mesh has no texture coordinates; unwrap it first"):
        bake_to_texture(plain, torch.zeros(plain.n_vertices, 3), 8)
    with pytest.raises(ShapeError, match="the mesh has no texture coordinates; unwrap it first"):
        bake_to_vertices(plain, Texture(torch.zeros(4, 4, 3)))
    with pytest.raises(ShapeError, match="vertex_values must have shape"):
        bake_to_texture(square(), torch.zeros(5, 3), 8)
