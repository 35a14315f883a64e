from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.comparators import psnr_of
from support.shapes import bumpy, flat_camera, placed, scene_of, smooth_colors, square
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import box, torus
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.lights import Directional
from diffrender.scene.materials import Ggx
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import transfer_normal_map, transfer_texture


def mirrored(mesh: Mesh) -> Mesh:
    """Return the same triangles with their texture mirrored."""
    assert mesh.uvs is not None
    return replace(mesh, uvs=torch.stack([1 - mesh.uvs[:, 0], mesh.uvs[:, 1]], 1))


def test_a_texture_is_carried_to_another_mesh() -> None:
    old = unwrap_mesh(Mesh(*torus(0.7, 0.3, 48, 24)), 256)
    new = unwrap_mesh(Mesh(*torus(0.7, 0.3, 61, 37)), 256)
    texture = bake_to_texture(old, smooth_colors(old.vertices), 256)
    carried = transfer_texture(texture, old, new)
    texels_of = texel_map(new, 256, 256)
    expected = smooth_colors(texels_of.values(new.vertices, new.faces))
    assert psnr_of(carried.texels[texels_of.covered], expected) > 35
    assert transfer_texture(texture, old, new, 64).texels.shape == (64, 64, 3)
    for carry in (transfer_texture, transfer_normal_map):
        with pytest.raises(ShapeError, match="the old mesh has no texture coordinates"):
            carry(texture, Mesh(*torus(0.7, 0.3, 8, 8)), new)
        with pytest.raises(ShapeError, match="the mesh has no texture coordinates"):
            carry(texture, old, Mesh(*torus(0.7, 0.3, 8, 8)))


def test_the_same_triangles_find_themselves_where_surfaces_touch() -> None:
    """Two coincident sheets: the closest point does not tell which one is meant."""
    plain = square()
    assert plain.uvs is not None and plain.uv_faces is not None
    vertices = torch.cat([plain.vertices, plain.vertices])
    faces = torch.cat([plain.faces, plain.faces.flip(1) + 4])
    half = plain.uvs * torch.tensor([0.5, 1.0])
    uv_faces = torch.cat([plain.uv_faces, plain.uv_faces.flip(1) + 4])
    old = Mesh(vertices, faces, torch.cat([half, half + torch.tensor([0.5, 0.0])]), uv_faces)
    new = Mesh(vertices, faces, torch.cat([half + torch.tensor([0.5, 0.0]), half]), uv_faces)
    texels = torch.zeros(8, 8, 1)
    texels[:, 4:] = 1
    assert torch.equal(transfer_texture(Texture(texels), old, new).texels, 1 - texels)


def test_a_normal_map_by_hand() -> None:
    """The same square with its texture rotated by 90 degrees, and mirrored."""
    plain = square()
    assert plain.uvs is not None
    u, v = plain.uvs.unbind(1)
    direction = torch.tensor([0.6, 0.0, 0.8])  # to the right, in a texture aligned with the square
    texture = Texture(direction.expand(4, 4, 3))
    turned = replace(plain, uvs=torch.stack([v, 1 - u], 1))  # u runs down the square, the image's up to its right
    torch.testing.assert_close(transfer_normal_map(texture, plain, turned).texels[1, 2], torch.tensor([0.0, 0.6, 0.8]))
    seen = transfer_normal_map(texture, plain, mirrored(plain)).texels
    torch.testing.assert_close(seen, torch.tensor([-0.6, 0.0, 0.8]).expand(4, 4, 3))
    again = transfer_normal_map(Texture(3 * seen), mirrored(plain), plain).texels  # any length
    torch.testing.assert_close(again, texture.texels)


def seen(mesh: Mesh, normal: Texture | None) -> Tensor:
    lamp = {"lamp": Directional(torch.tensor([-1.0, -0.5, -1.0]), torch.full((3,), 3.0))}
    material = Ggx(torch.full((3,), 0.7), roughness=torch.full((1,), 0.8), normal=normal)
    return render(scene_of(placed(mesh, material), lights=lamp), flat_camera(96, 96, view_height=2.6), Hard()).rgba


def waves(mesh: Mesh) -> Texture:
    """Return a normal map for the layout of a mesh."""
    texels_of = texel_map(mesh, 256, 256)
    places = texels_of.values(mesh.vertices, mesh.faces)
    texels = torch.zeros(256, 256, 3)
    texels[:, :, 2] = 1
    vectors = torch.stack([(6 * places[:, 1]).sin(), (5 * places[:, 0]).cos(), torch.full_like(places[:, 0], 2)], 1)
    texels[texels_of.covered] = torch.nn.functional.normalize(vectors, dim=1)
    return Texture(texels)


@pytest.mark.parametrize("same_triangles", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_carried_normal_map_is_lit_as_before(same_triangles: bool) -> None:
    old = unwrap_mesh(bumpy(4), 256)
    new = mirrored(unwrap_mesh(old if same_triangles else bumpy(5), 256, padding=9))
    texture = waves(old)
    wanted = seen(old, texture)
    # The frames along u of the two layouts differ only at seams, and seams are rare.
    assert psnr_of(seen(new, transfer_normal_map(texture, old, new)), wanted) > (40 if same_triangles else 32)
    assert psnr_of(seen(new, transfer_texture(texture, old, new)), wanted) < 26  # without changing the frames
    assert psnr_of(seen(new, None), wanted) < 26


@pytest.mark.parametrize("creases", [(0, 0), (0, None), (None, 0)])
def test_a_carried_normal_map_follows_the_normals_of_both_meshes(creases: tuple[float | None, float | None]) -> None:
    turned = box(0.9).vertices @ axis_angle_to_matrix(torch.tensor([0.4, 0.6, 0.1])).T
    plain = unwrap_mesh(Mesh(turned, box(0.9).faces), 256)
    old, new = plain.with_crease(creases[0]), mirrored(unwrap_mesh(plain, 256, padding=9)).with_crease(creases[1])
    texture = waves(old)
    assert psnr_of(seen(new, transfer_normal_map(texture, old, new)), seen(old, texture)) > 35
