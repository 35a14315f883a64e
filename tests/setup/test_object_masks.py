"""Masks of what all pictures look at, found by depth: of a ball on a table, and where there is no such thing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from support.table_scenes import BALL, FLOOR, ball_on_a_table, floor, orbit, pictures, rough, table_scene, write
from torch import Tensor

from diffrender.config.load import parse_config
from diffrender.config.options.meshes import VisualHullMesh
from diffrender.config.resolved import format_resolved
from diffrender.config.schema import FitConfig
from diffrender.errors import DataError
from diffrender.geometry.primitives import Triangles, bumpy_sphere, icosphere
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.depth_sweep import DepthMaps, ground_normal, sweep_depths
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.object_masks import ObjectMasks, _is_cut_off, composite, find_object_masks
from diffrender.setup.seen_surface import SeenSurface
from diffrender.setup.standing_object import find_standing_object
from diffrender.setup.swept_views import sweep_views
from diffrender.setup.targets import build_targets
from diffrender.setup.without_masks import Found, find_without_masks

MIDDLE = torch.zeros(3)


def found_in(fit: Views, heldout: Views | None = None) -> ObjectMasks:
    return find_object_masks(fit, heldout, sweep_views(fit, heldout))


@cache
def depths_of_it() -> DepthMaps:
    return sweep_depths(ball_on_a_table(), 24, MIDDLE)


def silhouettes(cameras: Cameras) -> Tensor:
    return render(Scene({"ball": BALL}), cameras).rgba[..., 3]


def overlap(found: Tensor, true: Tensor) -> Tensor:
    return torch.minimum(found, true).sum((1, 2)) / torch.maximum(found, true).sum((1, 2))


def test_a_ball_on_a_table_in_front_of_clutter_gets_masks_also_in_held_out_views() -> None:
    views = ball_on_a_table()
    held = torch.arange(24) % 8 == 3
    found = found_in(views.select((~held).nonzero()[:, 0]), views.select(held.nonzero()[:, 0]))
    true = silhouettes(views.cameras)
    assert found.fit is not None and found.fit.masks is not None and not found.is_cut_off
    assert found.heldout is not None and found.heldout.masks is not None
    assert float(overlap(found.fit.masks, true[~held]).min()) > 0.9
    assert float(overlap(found.heldout.masks, true[held]).min()) > 0.9


def test_a_table_without_texture_is_not_the_object_nor_is_a_plane_through_it() -> None:
    cameras = orbit()
    uniform = Object(Mesh(*floor()), Unlit(torch.tensor([0.5, 0.45, 0.4])))
    for scene in (table_scene(ball=BALL, floor=uniform), Scene({"ball": BALL, "sky": table_scene().objects["sky"]})):
        found = found_in(pictures(scene, cameras))
        assert found.fit is not None and found.fit.masks is not None
        assert float(overlap(found.fit.masks, silhouettes(cameras)).min()) > 0.88


def test_masks_of_larger_pictures_follow_their_edges_and_ignore_what_is_not_known() -> None:
    cameras = orbit(size=300)
    views = pictures(table_scene(ball=BALL), cameras)
    weights = torch.ones(24, 300, 310)
    weights[::3, 130:170, :40], weights[5, 100:140, 100:140] = 0, 0
    masks = []
    for garbage in (0.5, torch.nan):
        spoiled = torch.where(weights[..., None] > 0, views.images, garbage)
        found = found_in(replace(views, images=spoiled, weights=weights)).fit
        assert found is not None and found.masks is not None
        masks.append(found.masks)
    assert torch.equal(*masks)
    known = weights > 0
    assert float(overlap(masks[0] * known, silhouettes(cameras) * known).min()) > 0.94


def test_most_of_a_thin_part_is_in_the_masks() -> None:
    cameras = orbit(size=160)
    ball = icosphere(4)
    needle = ball.vertices * torch.tensor([0.13, 0.7, 0.13]) + torch.tensor([0, 0.8, 0])
    rod = rough(Triangles(needle, ball.faces), 4, (0.8, 0.4, 0.3))
    views = pictures(table_scene(ball=BALL, rod=rod), cameras)
    found = found_in(views).fit
    alone = render(Scene({"rod": rod}), cameras).rgba[..., 3] > 0.9
    shown = alone & (silhouettes(cameras) < 0.1)
    assert found is not None and found.masks is not None
    assert float(((found.masks > 0.5) & shown).sum() / shown.sum()) > 0.5


@pytest.mark.parametrize("scale", [2.0**-13, 2.0**13])
def test_the_unit_of_length_does_not_matter(scale: float) -> None:
    views = ball_on_a_table()
    moved = views.cameras.cam_from_world.clone()
    moved[:, :3, 3] *= scale
    of_scaled = found_in(replace(views, cameras=replace(views.cameras, cam_from_world=moved))).fit
    found = found_in(views).fit
    assert of_scaled is not None and of_scaled.masks is not None and found is not None and found.masks is not None
    assert torch.equal(of_scaled.masks, found.masks)


def test_outlines_that_have_nothing_in_common_are_no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.Generator().manual_seed(0)

    def walk(image: np.ndarray, inside: np.ndarray, ground: np.ndarray) -> np.ndarray:
        row, column = torch.randint(0, 60, (2,), generator=noise).tolist()
        share = np.zeros(inside.shape)
        share[row : row + 60, column : column + 60] = 1
        return share

    monkeypatch.setattr("diffrender.setup.object_masks.random_walk", walk)
    assert "do not agree" in found_in(ball_on_a_table()).why


def test_held_out_views_of_another_size_stay_without_masks_and_it_is_told() -> None:
    other = pictures(table_scene(ball=BALL), orbit(3, 100))
    found = found_in(ball_on_a_table(), other)
    assert found.fit is not None and found.heldout is other and "another size" in found.why


def test_depths_that_are_called_reliable_are_those_of_the_scene() -> None:
    cameras, depths = orbit(), depths_of_it()
    true = render(table_scene(ball=BALL), cameras, aovs=("depth",)).aov("depth")[..., 0]
    error = (depths.depth / true - 1).abs()[depths.is_reliable]
    assert float(depths.is_reliable.float().mean()) > 0.4
    assert float(error.median()) < 0.01 and float((error > 0.03).float().mean()) < 0.1


@pytest.mark.parametrize(("height", "least", "wrong"), [(-0.1, 0.6, 0.1), (-0.55, 0.3, 0.2)])
def test_the_ground_is_told_where_it_is_seen_at_a_grazing_angle(height: float, least: float, wrong: float) -> None:
    eyes = orbit(height=height).positions_w() * torch.tensor([1.0, 0, 1]) + torch.tensor([0, height, 0])
    level = Cameras.perspective(eyes, target=eyes * torch.tensor([0.0, 1, 0]), fov_deg=50, height=96, width=106)
    scene = table_scene(ball=BALL)
    seen = render(scene, level, aovs=("depth",))
    is_ground = seen.face_id < len(floor().faces)
    depths = sweep_depths(pictures(scene, level), 24, MIDDLE)
    told = depths.is_reliable & is_ground
    error = (depths.depth / seen.aov("depth")[..., 0] - 1).abs()[told]
    assert float(is_ground.float().mean()) > 0.2 and float(told.sum() / is_ground.sum()) > least
    assert float((error > 0.03).float().mean()) < wrong


def test_which_way_the_ground_lies_is_known_by_rows_of_pictures_or_if_they_are_all_alike_by_their_columns() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    cameras = orbit()
    matrices = cameras.cam_from_world.clone()
    matrices[:, :3, :3] = matrices[:, :3, :3] @ turn.T
    normal = ground_normal(replace(cameras, cam_from_world=matrices))
    assert float(normal @ (turn @ torch.tensor([0.0, -1, 0]))) > 0.9999
    eyes = torch.rand(9, 3, generator=torch.Generator().manual_seed(1))
    ahead = Cameras.perspective(eyes, target=eyes - torch.tensor([0, 0.2, 3.0]), fov_deg=60, height=40, width=50)
    assert float(ground_normal(ahead)[1]) < -0.99


def test_what_stands_on_a_plane_is_apart_from_it() -> None:
    found = find_standing_object(orbit(), depths_of_it(), MIDDLE.numpy())
    assert found is not None and found.plane is not None
    point, normal = found.plane
    assert normal[1] > 0.999 and abs(point[1] - FLOOR) < 0.02
    low, high = BALL.mesh.vertices.amin(0).numpy(), BALL.mesh.vertices.amax(0).numpy()
    assert np.abs(found.points.max(0) - high).max() < 0.2 and np.abs(found.points.min(0) - low).max() < 0.2
    assert found.contains(BALL.mesh.vertices.numpy()).mean() > 0.9
    assert not found.contains(floor().vertices.numpy()).any()


def low_block() -> Object:
    """Return what is flat for its size, as a window is on its wall."""
    ball = icosphere(5)
    return rough(Triangles(ball.vertices * torch.tensor([1, 0.14, 1]) + torch.tensor([0, FLOOR, 0]), ball.faces), 5)


def test_without_an_object_that_stands_apart_the_reason_is_told() -> None:
    found = found_in(pictures(table_scene(), orbit()))
    assert found.fit is None and "nothing in the middle of its pictures is apart" in found.why


def test_what_is_flat_is_an_object_only_if_it_may_be() -> None:
    views = pictures(table_scene(block=low_block()), orbit(size=120))
    swept = sweep_views(views, None)
    flat = find_object_masks(views, None, swept, may_be_flat=False)
    assert flat.fit is None and "is flat" in flat.why
    assert "is flat" not in find_object_masks(views, None, swept).why
    assert find_object_masks(ball_on_a_table(), None, sweep_views(ball_on_a_table(), None), may_be_flat=False).fit


def pillar() -> Views:
    """Return pictures of what goes on above them."""
    ball = bumpy_sphere(5)
    high = rough(Triangles(ball.vertices * torch.tensor([1.4, 3, 1.4]), ball.faces), 1)
    return pictures(table_scene(pillar=high), orbit(size=84, height=0.6))


def test_what_pictures_cut_off_is_a_surface_or_if_there_is_none_or_masks_are_asked_for_an_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = pillar()
    swept = sweep_views(views, None)
    found = find_object_masks(views, None, swept)
    assert found.fit is not None and found.is_cut_off
    monkeypatch.setattr("diffrender.setup.without_masks.sweep_views", lambda *_: swept)
    monkeypatch.setattr("diffrender.setup.without_masks.find_object_masks", lambda *_, **__: found)
    write(tmp_path, table_scene(ball=BALL), orbit(8))  # what the options are read with
    lines = (f"targets: {{path: {tmp_path}{more}}}\n" for more in ("", ", find_masks: true"))
    config, asked = (parse_config(line, tmp_path) for line in lines)
    given = Found(views, None, (0.0, 0.0, 0.0))

    def find(config: FitConfig) -> Found:
        return find_without_masks(config, given, False, None, (0.0, 0.0, 0.0))

    surface = SeenSurface(icosphere(1), views, None, 0.5, ())
    monkeypatch.setattr("diffrender.setup.without_masks.find_seen_surface", lambda *_: surface)
    started = find(config)
    assert started.surface is surface.mesh and started.fit.masks is None and "find_masks: true" in started.notes[0]
    assert find(asked).fit.masks is not None

    def none(*_: object) -> None:
        raise DataError("nothing")

    monkeypatch.setattr("diffrender.setup.without_masks.find_seen_surface", none)
    assert find(config).fit.masks is not None


def test_the_borders_of_photographs_that_do_not_fill_their_images_cut_off_as_well() -> None:
    images, boxes = torch.zeros(4, 60, 90, 3), torch.tensor([[0, 25, 60, 40]]).expand(4, 4)
    weights = torch.zeros(4, 60, 90)
    weights[:, :, 25:65] = 1
    views = Views(orbit(4, 60).resized(60, 90), images, None, tuple("abcd"), weights=weights, boxes=boxes)
    masks = np.zeros((4, 20, 30), np.float32)
    masks[:, 5:15, 10:20] = 1  # from the left of each to short of its right
    assert not _is_cut_off(views, masks)
    masks[:, 5:15, 8:22] = 1
    assert _is_cut_off(views, masks)


def test_few_pictures_do_not_tell_depths() -> None:
    with pytest.raises(DataError, match="fewer than 7 pictures do not tell depths"):
        found_in(pictures(table_scene(ball=BALL), orbit(6)))


def test_pictures_that_have_nothing_in_common_have_no_masks() -> None:
    cameras = orbit()
    noise = torch.rand(24, cameras.height, cameras.width, 3, generator=torch.Generator().manual_seed(0))
    for images in (noise, torch.full_like(noise, 0.4)):
        found = found_in(Views(cameras, images, None, tuple(map(str, range(24)))))
        assert found.fit is None and found.why


def test_cameras_that_look_apart_find_nothing() -> None:
    cameras = orbit()
    turned = cameras.cam_from_world.clone()
    turned[:, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0])) @ turned[:, :3]
    views = replace(ball_on_a_table(), cameras=replace(cameras, cam_from_world=turned))
    with pytest.raises(DataError, match="its pictures do not tell depths"):
        found_in(views)


def test_what_a_mask_hides_becomes_the_background() -> None:
    views = pictures(table_scene(ball=BALL), orbit(1, 16))
    masks = torch.rand(1, 16, 26)
    masks[0, 0, 0], masks[0, 1, 1] = 0, 1
    over = composite(replace(views, masks=masks), (0.2, 0.4, 0.6))
    assert over.is_composited and over.images[0, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert torch.equal(over.images[0, 1, 1], views.images[0, 1, 1])


def test_a_fit_of_pictures_without_masks_starts_from_a_hull_and_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, table_scene(ball=BALL), orbit(size=96))
    setup = build_fit(parse_config("targets: {path: .}", tmp_path))
    assert isinstance(setup.config.mesh, VisualHullMesh) and setup.config.targets.find_masks
    assert setup.fit_views.is_composited and setup.heldout_views is not None and setup.heldout_views.masks is not None
    assert any("found, by its depth" in note and "mesh: stereo" in note for note in setup.notes)
    size = setup.scene.objects["object"].mesh.vertices.abs().amax()
    assert 0.6 < float(size) < 1.4
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    assert again.config == setup.config
    assert setup.fit_views.masks is not None and again.fit_views.masks is not None
    assert torch.equal(again.fit_views.masks, setup.fit_views.masks)


def test_masks_are_looked_for_where_a_hull_may_be_carved_or_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, table_scene(), orbit(size=96))
    told = "nothing in the middle of its pictures is apart"
    targets = build_targets(parse_config("targets: {path: .}", tmp_path))
    assert targets.fit.masks is None and any(told in note for note in targets.notes)
    for text in ("targets: {path: ., masks: false}", "targets: {path: .}\nmesh: {init: sphere}"):
        assert not any(told in note for note in build_targets(parse_config(text, tmp_path)).notes)
    with pytest.raises(DataError, match=f"masks cannot be found: .*{told}.*remove `targets.find_masks`"):
        build_targets(parse_config("targets: {path: ., find_masks: true}\nmesh: {init: sphere}", tmp_path))
