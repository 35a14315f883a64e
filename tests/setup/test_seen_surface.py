"""The surface that pictures show, by their depths, where they show no single object."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from support.small_runs import run_small
from support.table_scenes import BALL, ball_on_a_table, floor, orbit, pictures, rough, table_scene, write
from torch import Tensor

from diffrender.app.verdict.judge import judge_targets
from diffrender.config.load import parse_config
from diffrender.config.options.meshes import StereoMesh
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.distances import SurfaceQuery
from diffrender.geometry.mesh_checks import check_mesh
from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import Triangles, plane
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.depth_sweep import DepthMaps, find_middles
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.saved_scene import SCENE_FILE, SavedScene, save_scene
from diffrender.setup.seen_surface import SeenSurface, find_seen_surface
from diffrender.setup.swept_views import SweptViews, shrink_views, sweep_views
from diffrender.writers.images.png import write_png


def wall() -> Triangles:
    """Return a wall two behind the middle, towards which z points."""
    flat = plane(9, 9, 79, 79)
    x, y, z = flat.vertices.unbind(1)
    upright = Triangles(torch.stack([x, -z, y - 2], 1), flat.faces)
    return upright if face_normals(*upright)[0, 2] > 0 else upright._replace(faces=upright.faces.flip(1))


WALL_SCENE = Scene({"wall": rough(wall(), 5), "ball": BALL})


def side_by_side() -> Cameras:
    """Return cameras that all look ahead."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(-0.6, 0.6, 3), indexing="ij")
    eyes = torch.stack([x.flatten(), y.flatten(), torch.full((15,), 3.5)], 1)
    return Cameras.perspective(eyes, target=eyes - torch.tensor([0, 0, 3.0]), fov_deg=60, height=88, width=104)


@cache
def before_a_wall() -> Views:
    return pictures(WALL_SCENE, side_by_side())


@cache
def swept_wall() -> SweptViews:
    return sweep_views(before_a_wall(), None)


@cache
def swept_table() -> SweptViews:
    return sweep_views(ball_on_a_table(), None)


@cache
def of_the_table() -> SeenSurface:
    return find_seen_surface(ball_on_a_table(), None, swept_table())


def distances(found: SeenSurface, *true: Triangles) -> Tensor:
    """Return the distances [V] of the vertices found to the nearest of the true surfaces."""
    return torch.stack([SurfaceQuery(each).closest(found.mesh.vertices).distance for each in true]).amin(0)


def check(found: SeenSurface, *true: Triangles) -> None:
    """Assert that what was found is a clean surface near the true ones."""
    off = distances(found, *true)
    assert float(off.median()) < 0.03 and float(off.quantile(0.95)) < 0.12
    report = check_mesh(found.mesh)
    assert report.manifold and not report.watertight and report.self_intersections < 0.01 * report.n_faces
    assert report.n_faces > 1000


def test_a_table_and_what_is_on_it_are_one_surface_that_faces_the_cameras() -> None:
    found, ball = of_the_table(), BALL.mesh
    check(found, Triangles(ball.vertices, ball.faces), floor())
    assert float(distances(found, Triangles(ball.vertices, ball.faces)).amin()) < 0.02
    normals = face_normals(found.mesh.vertices, found.mesh.faces)
    is_floor = found.mesh.vertices[found.mesh.faces].amax(1)[:, 1] < -0.8
    assert is_floor.sum() > 500 and float((normals[is_floor, 1] > 0).float().mean()) > 0.99


def test_what_is_before_cameras_that_all_look_ahead_is_found_by_its_depth() -> None:
    views = before_a_wall()
    middles = find_middles(shrink_views(views), len(views))
    assert middles is not None and ((middles[:, 2] > -2.1) & (middles[:, 2] < 1)).all()
    # Those at the sides see the wall alone.
    assert float((middles[:, 2] + 2).abs()[[0, 1, 2, 12, 13, 14]].amax()) < 0.1
    swept = swept_wall()
    assert not swept.is_around
    check(find_seen_surface(views, None, swept), wall(), Triangles(BALL.mesh.vertices, BALL.mesh.faces))


def test_what_is_not_of_the_surface_is_unknown_in_fitted_and_in_held_out_views() -> None:
    views = ball_on_a_table()
    held = torch.arange(24) % 8 == 3
    fit, heldout = views.select((~held).nonzero()[:, 0]), views.select(held.nonzero()[:, 0])
    smaller = pictures(table_scene(ball=BALL), orbit(3, 100))
    for others in (heldout, smaller):
        found = find_seen_surface(fit, others, sweep_views(fit, others))
        assert found.heldout is not None and found.heldout.weights is not None and found.fit.weights is not None
        for of_views in (found.fit, found.heldout):
            is_ball = render(Scene({"ball": BALL}), of_views.cameras).coverage > 0.99
            assert not found.blind
            assert of_views.weights is not None
            # The sky is far away.
            assert float(of_views.weights[is_ball].mean()) > 0.5 and not of_views.weights[:, :2].any()
        assert found.compared == pytest.approx(float(found.fit.weights.mean()), abs=0.01)
        assert 0.2 < found.compared < 0.9


def test_what_was_unknown_stays_so() -> None:
    views = ball_on_a_table()
    weights = torch.ones(views.images.shape[:3])
    weights[:, 60] = 0
    found = find_seen_surface(replace(views, weights=weights), None, swept_table())
    assert found.fit.weights is not None and not found.fit.weights[:, 60].any() and found.fit.weights[:, 70].any()


def test_pockets_of_which_nothing_tells_are_bridged_by_what_is_around_them() -> None:
    views, swept = before_a_wall(), swept_wall()
    reliable = swept.depths.is_reliable.clone()
    place = torch.tensor([1.6, 1.0, -2.0])
    reliable &= (swept.depths.points - place).norm(dim=3) > 0.12
    assert reliable.sum() < swept.depths.is_reliable.sum()
    blind = swept._replace(depths=DepthMaps(swept.depths.depth, swept.depths.points, reliable))
    for depths in (swept, blind):
        found = find_seen_surface(views, None, depths)
        nearest = SurfaceQuery(found.mesh).closest(place[None]).distance
        near = found.mesh.vertices[(found.mesh.vertices - place).norm(dim=1) < 0.3]
        assert float(nearest) < 0.05 and float((near[:, 2] + 2).abs().amax()) < 0.1


def test_what_hides_the_surface_in_a_picture_is_not_compared() -> None:
    views, swept = before_a_wall(), swept_wall()
    before = find_seen_surface(views, None, swept).fit.weights
    assert before is not None
    is_known = torch.nn.functional.avg_pool2d(before[:, None], 9, 1, 4)[:, 0] == 1
    view, row, column = is_known.nonzero()[0].tolist()
    place = view, slice(row - 4, row + 5), slice(column - 4, column + 5)
    depth, reliable = swept.depths.depth.clone(), swept.depths.is_reliable.clone()
    depth[place], reliable[place] = 1.0, True
    hidden = swept._replace(depths=DepthMaps(depth, swept.depths.points, reliable))
    after = find_seen_surface(views, None, hidden).fit.weights
    assert after is not None and before[place].all() and not after[place].any()
    assert float((before - after).abs().sum()) < 600


def test_along_a_street_each_view_has_its_own_middle_also_in_a_film() -> None:
    """A camera passes a wall that is several times as long as it is away; each picture overlaps with its neighbours."""
    flat = plane(20, 6, 159, 47)
    x, y, z = flat.vertices.unbind(1)
    street = Triangles(torch.stack([x, -z, y], 1), flat.faces.flip(1))
    scene = Scene({"wall": rough(street._replace(faces=street.faces.flip(1)), 6)})
    for count, reach in ((24, 8), (60, 0.4), (100, 0.5)):
        eyes = torch.stack([torch.linspace(-reach, reach, count), torch.zeros(count), torch.full((count,), 3.0)], 1)
        ahead = torch.tensor([0, 0, 3.0])
        cameras = Cameras.perspective(eyes, target=eyes - ahead, fov_deg=60, height=64, width=80)
        views = pictures(scene, cameras)
        found = find_seen_surface(views, None, sweep_views(views, None))
        assert not found.blind and found.compared > 0.5
        assert float(distances(found, street).quantile(0.95)) < 0.1
        assert float(found.mesh.vertices[:, 0].amin()) < -reach and float(found.mesh.vertices[:, 0].amax()) > reach


def test_views_that_see_nothing_of_the_surface_are_left_out() -> None:
    views = ball_on_a_table()
    away = views.cameras.cam_from_world.clone()
    away[5, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0])) @ away[5, :3, :3]
    away[5, :3, 3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0])) @ away[5, :3, 3]
    turned = replace(views, cameras=replace(views.cameras, cam_from_world=away))
    found = find_seen_surface(turned, turned.select([5, 6]), sweep_views(turned, None))
    assert found.blind == ("5.png", "5.png") and len(found.fit) == 23
    assert found.heldout is not None and found.heldout.names == ("6.png",)


def test_a_surface_is_not_compared_from_behind() -> None:
    views, behind = before_a_wall(), Cameras.perspective(torch.tensor([[0.3, 0, -6]]), fov_deg=40, height=60, width=60)
    found = find_seen_surface(views, pictures(WALL_SCENE, behind), swept_wall())
    assert found.heldout is None and found.blind == ("0.png",)


@pytest.mark.parametrize("scale", [2.0**-13, 2.0**13])
def test_the_unit_of_length_does_not_matter(scale: float) -> None:
    views = ball_on_a_table()
    moved = views.cameras.cam_from_world.clone()
    moved[:, :3, 3] *= scale
    scaled = replace(views, cameras=replace(views.cameras, cam_from_world=moved))
    found = find_seen_surface(scaled, None, sweep_views(scaled, None))
    assert torch.equal(found.mesh.faces, of_the_table().mesh.faces)
    assert torch.equal(found.mesh.vertices, of_the_table().mesh.vertices * scale)


def test_a_box_bounds_what_is_found() -> None:
    views, box = ball_on_a_table(), torch.tensor([[-0.8, -0.7, -0.8], [0.9, 1.0, 0.8]])
    found = find_seen_surface(views, None, sweep_views(views, None, box), box)
    assert bool((found.mesh.vertices > box[0] - 0.05).all()) and bool((found.mesh.vertices < box[1] + 0.05).all())
    assert float(distances(found, Triangles(BALL.mesh.vertices, BALL.mesh.faces)).median()) < 0.05


def test_depths_that_tell_nothing_are_refused() -> None:
    swept = swept_table()
    nothing = swept._replace(depths=swept.depths._replace(is_reliable=torch.zeros_like(swept.depths.is_reliable)))
    with pytest.raises(DataError, match="its pictures do not tell depths"):
        find_seen_surface(ball_on_a_table(), None, nothing)
    far = torch.tensor([[5.0, 5, 5], [6, 6, 6]])
    with pytest.raises(DataError, match="do not agree on a surface"):
        find_seen_surface(ball_on_a_table(), None, swept, far)


def test_a_fit_of_pictures_that_show_no_object_starts_from_the_surface_and_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, WALL_SCENE, side_by_side())
    setup = build_fit(parse_config("targets: {path: .}", tmp_path))
    assert isinstance(setup.config.mesh, StereoMesh)
    assert "depths of its pictures show a surface" in next(note for note in setup.notes if "no masks" in note)
    assert setup.reasons["mesh"].startswith("depths of 13 views")
    assert setup.config.optimize.parameters()["mesh.vertices"].remesh is not None
    mesh, weights = setup.scene.objects["object"].mesh, setup.fit_views.weights
    assert weights is not None and float(SurfaceQuery(wall()).closest(mesh.vertices).distance.median()) < 0.1
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    assert again.config == setup.config and again.fit_views.weights is not None
    assert torch.equal(again.scene.objects["object"].mesh.vertices, mesh.vertices)
    assert torch.equal(again.fit_views.weights, weights)
    # Also if no object is to be found.
    for text in ("targets: {path: ., find_masks: false}", "targets: {path: ., masks: false}"):
        assert isinstance(build_fit(parse_config(text, tmp_path)).config.mesh, StereoMesh)
    # A shape that is given, or a known background, is kept.
    for text in ("mesh: {init: sphere}", "background: [0, 0, 0]", "optimize: {mesh.vertices: off}\nmesh: {init: box}"):
        setup = build_fit(parse_config(f"targets: {{path: .}}\n{text}", tmp_path))
        assert not isinstance(setup.config.mesh, StereoMesh) and setup.fit_views.weights is None


def test_eight_pictures_of_which_one_is_held_out_are_enough(tmp_path: Path) -> None:
    write(tmp_path, WALL_SCENE, side_by_side().select(list(range(3, 11))))
    setup = build_fit(parse_config("targets: {path: .}", tmp_path))
    assert isinstance(setup.config.mesh, StereoMesh) and len(setup.fit_views) == 7


def test_a_surface_that_is_asked_for_but_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    write(tmp_path, WALL_SCENE, side_by_side().select(slice(0, 6)))
    with pytest.raises(DataError, match=r"transforms.json.*no surface.*fewer than 7 pictures.*another shape"):
        build_fit(parse_config("targets: {path: transforms.json}\nmesh: stereo", tmp_path))
    for text, told in (
        ("targets: {synthetic: {mesh: {init: box}}}\nmesh: stereo", "what photographs show"),
        ("targets: {synthetic: {mesh: stereo}}", "a target cannot be a `stereo`"),
        ("targets: {path: .}\nobjects: [{name: a, mesh: stereo}]", "a scene without `objects`"),
        ("targets: {path: ., find_masks: true}\nmesh: stereo", "`find_masks` is true"),
        ("targets: {path: ., find_surface: false}\nmesh: stereo", "`find_surface` is false"),
        ("targets: {path: ., find_masks: true, find_surface: true}", "both are true"),
        ("targets: {synthetic: {mesh: {init: box}}, find_surface: true}", "`find_surface` is for photographs"),
    ):
        with pytest.raises(ConfigError, match=told):
            parse_config(text, tmp_path)
    views = pictures(WALL_SCENE, side_by_side().select(slice(0, 2)))
    for name, image in zip(views.names, views.images, strict=True):
        write_png(tmp_path / name, torch.cat([image, (image[..., :1] > 0.5).float()], -1))
    with pytest.raises(ConfigError, match=r"the targets have masks.*masks: false"):
        build_fit(parse_config("targets: {path: ., missing: skip}\nmesh: stereo", tmp_path))


def test_a_surface_is_not_looked_for_before_a_plain_backdrop_nor_unless_all_is_open(tmp_path: Path) -> None:
    write(tmp_path, Scene({"ball": BALL}), orbit(size=80))
    for text in ("targets: {path: ., masks: false}", "targets: {path: ., find_masks: false}", "targets: {path: .}"):
        setup = build_fit(parse_config(text, tmp_path))
        assert setup.fit_views.weights is None and setup.config.targets.find_surface is None


def test_a_run_that_goes_on_compares_what_it_compared(tmp_path: Path) -> None:
    write(tmp_path, WALL_SCENE, side_by_side())
    first = build_fit(parse_config("targets: {path: .}\noptimize: {steps: 2}", tmp_path))
    (tmp_path / "run").mkdir()
    saved = SavedScene(first.scene, first.fit_views.cameras, first.fit_views.names, first.origin)
    save_scene(tmp_path / "run" / SCENE_FILE, saved)
    setup = build_fit(parse_config("targets: {path: .}\nfrom: run", tmp_path))
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    assert first.fit_views.weights is not None
    for each in (setup, again):
        assert each.fit_views.weights is not None and torch.equal(each.fit_views.weights, first.fit_views.weights)
        assert each.region == first.region and each.config.targets.find_surface


def test_a_good_fit_is_not_doubted_for_where_its_cameras_look(tmp_path: Path) -> None:
    write(tmp_path, WALL_SCENE, side_by_side())
    text = "targets: {path: .}\noptimize: {steps: 40}\nprogress: {pictures: 1, turntable: false, video: false}"
    result, log = run_small(text, tmp_path)
    scores = result.metrics
    assert scores["heldout"]["psnr_db"] > scores["initial"]["heldout"]["psnr_db"] + 5
    assert scores["verdict"] == "good" and not scores["reasons"], log
    assert 0.2 < scores["heldout"]["known"] < 1 and "held-out share of pixels scored" in " ".join(log.split())


def test_a_surface_that_hardly_any_pixel_sees_is_doubted(tmp_path: Path) -> None:
    write(tmp_path, WALL_SCENE, side_by_side())
    for low, is_doubted in ((-0.5, True), (-1.0, False)):
        box = [[low, low, -3.0], [-low, -low, 1.0]]
        setup = build_fit(parse_config(f"targets: {{path: .}}\nmesh: {{init: stereo, aabb: {box}}}", tmp_path))
        keys = [reason.key for reason in judge_targets(setup)]
        assert ("little_compared" in keys) == is_doubted, setup.notes
