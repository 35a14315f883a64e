from __future__ import annotations

from dataclasses import replace

import torch
from support.shapes import bumpy, camera_at, placed, scene_of, smooth_colors

from diffrender.fit.fill_unseen_texels import fill_unseen_texels, find_seen_texels
from diffrender.render.edge_models import Antialias
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.scene import Scene
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture

PATH = "objects.a.material.base_color"


def draw(scene: Scene, cameras: Cameras):
    return render(scene, cameras, Antialias())


def scene_with(texture: Texture, mesh):
    lights = {"sun": Directional(torch.tensor([0.0, 0.0, -1.0])), "sky": Ambient()}
    hidden = placed(bumpy(1), Unlit(torch.ones(3)), pose=torch.eye(4))
    return scene_of(placed(mesh, Lambert(texture)), hidden, lights=lights)


def test_what_the_cameras_see_is_kept_and_the_rest_filled() -> None:
    mesh = unwrap_mesh(bumpy(3), 128)
    truth = bake_to_texture(mesh, smooth_colors(mesh.vertices), 128)
    front = camera_at((0.0, 0.0, 3.0)).resized(96, 96)
    scene = scene_with(truth, mesh)
    seen = find_seen_texels(scene, "a", truth, front, draw)
    texels_of = texel_map(mesh, 128, 128)
    z = torch.zeros(128, 128)
    z[texels_of.covered] = texels_of.values(mesh.vertices, mesh.faces)[:, 2]
    assert not bool((seen & texels_of.covered & (z < -0.6)).any())  # the back
    share = (seen & texels_of.covered).sum() / texels_of.covered.sum()
    assert 0.25 < float(share) < 0.65

    spoilt = Texture(torch.where(seen[:, :, None], truth.texels, 9.0))
    filled = fill_unseen_texels(scene_with(spoilt, mesh), front, ["background", PATH], draw)
    texels = filled.objects["a"].material.base_color.texels  # type: ignore[attr-defined]
    assert torch.equal(texels[seen], truth.texels[seen])
    assert texels.max() <= 1.5  # no 9 is left, gutters included
    # The front has not changed. Which pixels are sampled follows from the seams at which colours jump, so many samples.
    after, before = (render(each, front, Antialias(samples=16)).rgba for each in (filled, scene))
    torch.testing.assert_close(after, before, atol=0.02, rtol=0)


def test_what_only_a_dark_photograph_shows_is_seen_too() -> None:
    mesh = unwrap_mesh(bumpy(3), 64)
    truth = bake_to_texture(mesh, smooth_colors(mesh.vertices), 64)
    scene = scene_with(truth, mesh)
    both = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]]), height=96, width=96)
    dark = replace(both, exposure=torch.tensor([0.0, -10.0]))
    expected = find_seen_texels(scene, "a", truth, both, draw)
    assert torch.equal(find_seen_texels(scene, "a", truth, dark, draw), expected)
    assert int(expected.sum()) > 1.5 * int(find_seen_texels(scene, "a", truth, both.select([0]), draw).sum())


def test_other_values_and_scenes_without_textures_stay() -> None:
    scene = scene_of(placed(bumpy(1)))
    same = fill_unseen_texels(scene, camera_at((0.0, 0.0, 3.0)), [PATH, "background"], draw)
    assert same.objects["a"] is scene.objects["a"]


def test_an_object_that_no_camera_sees_keeps_its_texture() -> None:
    mesh = unwrap_mesh(bumpy(1), 32)
    scene = scene_of(placed(mesh, Unlit(Texture(torch.rand(32, 32, 3)))))
    away = Cameras.perspective(torch.tensor([[0.0, 0.0, 9.0]]), (0.0, 0.0, 20.0), height=16, width=16)
    same = fill_unseen_texels(scene, away, [PATH], draw)
    before, after = (one.objects["a"].material.base_color.texels for one in (scene, same))  # type: ignore[attr-defined]
    assert torch.equal(before[texel_map(mesh, 32, 32).covered], after[texel_map(mesh, 32, 32).covered])


def test_what_is_seen_only_where_nothing_is_known_is_not_seen() -> None:
    mesh = unwrap_mesh(bumpy(3), 64)
    scene = scene_with(bake_to_texture(mesh, smooth_colors(mesh.vertices), 64), mesh)
    texture, both = scene.objects["a"].material.base_color, camera_at((0.0, 0.0, 3.0)).resized(96, 96).select([0, 0])
    weights = torch.zeros(2, 96, 96)
    weights[1, :, 48:] = 1
    half, whole = (find_seen_texels(scene, "a", texture, both, draw, each) for each in (weights, None))
    assert 0.35 < float(half.sum() / whole.sum()) < 0.65 and not bool((half & ~whole).any())
