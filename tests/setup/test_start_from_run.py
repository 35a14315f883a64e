"""Starts from earlier results (`from:`), and learning rates that follow how good a start is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.small_runs import run_small

from diffrender.app.run import RunResult
from diffrender.config.load import load_config, parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError, DataError
from diffrender.imaging.response import straight_response
from diffrender.scene.move_scene import move_scene
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.setup.careful_rates import rate_factor, start_psnr_db
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.saved_scene import SCENE_FILE, load_scene, save_scene
from diffrender.setup.start_from_run import with_cameras_of

CURVE = straight_response() ** 1.2
TARGETS = """
targets:
  resolution: 32
  synthetic:
    {mesh: {init: bumpy, subdivisions: 3}, material: {type: lambert, base_color: own}, views: 6, samples: 16,
     exposure_stops: 0.2}
progress: {pictures: 0, video: false, turntable: false}
"""
FIRST = f"""{TARGETS}
mesh: {{init: bumpy, subdivisions: 3, radius: 0.97}}
material: {{type: lambert, base_color: own}}
lights: [{{name: sky, type: ambient, radiance: 0.9}}]
optimize: {{steps: 60, batch_size: 4, lights.sky.radiance: {{}}, cameras.pose: {{}}, cameras.exposure: {{}}}}
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run_small(FIRST, tmp_path_factory.mktemp("first"))[0]


def started(folder: Path, more: str = "") -> FitSetup:
    return build_fit(parse_config(f"{TARGETS}\nfrom: {folder}\n{more}", folder))


def test_a_run_goes_on_where_another_ended(first: RunResult, tmp_path: Path) -> None:
    setup = started(first.folder)
    (before,), (after,) = first.fit.scene.objects.values(), setup.scene.objects.values()
    assert torch.equal(before.mesh.vertices, after.mesh.vertices)
    assert torch.equal(before.material.base_color, after.material.base_color)
    assert torch.equal(first.fit.scene.lights["sky"].radiance, setup.scene.lights["sky"].radiance)
    cameras = setup.fit_views.cameras
    assert torch.equal(first.fit.cameras.cam_from_world, cameras.cam_from_world)
    assert torch.equal(first.fit.cameras.exposure, cameras.exposure)
    assert list(setup.config.optimize.parameters()) == ["mesh.vertices", "material.base_color"]

    result, shown = run_small(f"{TARGETS}\nfrom: {first.folder}\noptimize: {{steps: 40}}", tmp_path)
    start, end = result.metrics["initial"]["fit"]["psnr_db"], result.metrics["fit"]["psnr_db"]
    assert start == pytest.approx(first.metrics["fit"]["psnr_db"], abs=1e-4)
    assert end > start
    assert "usual rates of meshes and materials times" in " ".join(shown.split())
    again = build_fit(load_config(result.folder / "scene.resolved.yaml"))
    assert format_resolved(again.config) == format_resolved(load_config(result.folder / "scene.resolved.yaml"))


def test_the_run_may_be_named_by_its_link_and_be_seen_at_another_size(first: RunResult, tmp_path: Path) -> None:
    setup = build_fit(
        parse_config(f"{TARGETS}\nfrom: {first.folder.parent / 'latest'}".replace("n: 32", "n: 16"), tmp_path)
    )
    pointer = first.folder.parent / "pointer"  # what `latest` is where links are not allowed
    pointer.write_text(f"{first.folder.name}\n")
    assert started(pointer).fit_views.names == setup.fit_views.names
    small, full = setup.fit_views.cameras, first.fit.cameras
    torch.testing.assert_close(small.focal_px, full.focal_px / 2)
    assert torch.equal(small.cam_from_world, full.cam_from_world)


def test_photographs_of_several_sizes_keep_their_lenses_at_another_size(first: RunResult, tmp_path: Path) -> None:
    saved, views = load_scene(first.folder / SCENE_FILE), started(first.folder).fit_views
    boxes = torch.tensor([[0, 0, 32, 32]]).repeat(len(views), 1)
    moved = saved._replace(cameras=replace(saved.cameras, center_px=saved.cameras.center_px + 1))
    assert torch.equal(
        with_cameras_of(replace(views, boxes=boxes), moved).cameras.center_px, views.cameras.center_px + 1
    )
    smaller = moved._replace(cameras=moved.cameras.resized(16, 20))
    cameras = with_cameras_of(replace(views, boxes=boxes), smaller).cameras
    assert torch.equal(cameras.center_px, views.cameras.center_px)
    assert torch.equal(cameras.cam_from_world, saved.cameras.cam_from_world)
    # Its canvas had another shape than the photographs.
    wide = saved._replace(cameras=replace(saved.cameras, width=2 * saved.cameras.width))
    assert torch.equal(with_cameras_of(views, wide).cameras.focal_px, views.cameras.focal_px)


def test_views_that_the_run_has_not_keep_their_cameras(first: RunResult, tmp_path: Path) -> None:
    saved = load_scene(first.folder / SCENE_FILE)
    shutil.copytree(first.folder, tmp_path / "run")
    save_scene(tmp_path / "run" / SCENE_FILE, saved._replace(names=("other", *saved.names[1:])))
    cameras, given = started(tmp_path / "run").fit_views.cameras, build_fit(parse_config(TARGETS, tmp_path)).fit_views
    assert torch.equal(cameras.cam_from_world[0], given.cameras.cam_from_world[0])
    assert torch.equal(cameras.cam_from_world[1:], saved.cameras.cam_from_world[1:])
    assert float(cameras.exposure[0]) == 0


def test_a_learned_lens_is_taken_over_and_held_out_views_have_it(first: RunResult, tmp_path: Path) -> None:
    saved = load_scene(first.folder / SCENE_FILE)
    rows = len(saved.cameras)
    lens = {"vignetting": torch.tensor([[-0.3, 0.1, 0.0]]).repeat(rows, 1), "response": CURVE.repeat(rows, 1)}
    lens["projection"] = RadialTangential(*(torch.full((rows,), value) for value in (0.04, -0.01, 0.0, 0.002)))
    shutil.copytree(first.folder, tmp_path / "run")
    save_scene(tmp_path / "run" / SCENE_FILE, saved._replace(cameras=replace(saved.cameras, **lens)))
    for more in ("", "optimize: {cameras.k1: {}, cameras.vignetting: {}}"):
        setup = started(tmp_path / "run", more)
        assert setup.heldout_views is not None
        for cameras in (setup.model.cameras(), setup.heldout_views.cameras):
            assert isinstance(cameras.projection, RadialTangential)
            assert torch.equal(cameras.projection.k1, torch.full((len(cameras),), 0.04))
            assert torch.equal(cameras.projection.k2, torch.full((len(cameras),), -0.01))
            torch.testing.assert_close(cameras.vignetting, lens["vignetting"][:1].expand(len(cameras), 3))
            assert torch.equal(cameras.response, CURVE.expand(len(cameras), -1))


def test_results_are_moved_to_the_origin_of_the_new_fit(first: RunResult, tmp_path: Path) -> None:
    saved = load_scene(first.folder / SCENE_FILE)
    away = (-7.0, 1.0, 3.0)
    moved = move_scene(saved.scene, away)
    cameras = replace(saved.cameras, cam_from_world=saved.cameras.cam_from_world.clone())
    cameras.cam_from_world[:, :3, 3] -= cameras.cam_from_world[:, :3, :3] @ torch.tensor(away)
    shutil.copytree(first.folder, tmp_path / "run")
    save_scene(tmp_path / "run" / SCENE_FILE, saved._replace(scene=moved, cameras=cameras, origin=(7.0, -1.0, -3.0)))
    setup = started(tmp_path / "run")
    (before,), (after,) = saved.scene.objects.values(), setup.scene.objects.values()
    torch.testing.assert_close(after.vertices_w(), before.vertices_w(), rtol=0, atol=1e-5)
    torch.testing.assert_close(setup.fit_views.cameras.cam_from_world, saved.cameras.cam_from_world, rtol=0, atol=1e-5)


def test_what_cannot_be_started_from_is_refused(first: RunResult, tmp_path: Path) -> None:
    for key in ("mesh: sphere", "material: unlit", "lights: [ambient]", "objects: [{name: a}]"):
        with pytest.raises(ConfigError, match=f"`{key.split(':')[0]}` cannot be combined with `from`"):
            started(first.folder, key)
    with pytest.raises(DataError, match=r"has no fitted scene \(scene.pt\); give the folder of a run that has ended"):
        started(tmp_path)
    with pytest.raises(ConfigError, match="no such"):
        started(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"there is no 'mesh.vertexs' in the scene; did you mean mesh.vertices"):
        started(first.folder, "optimize: {mesh.vertexs: {}}")


def test_usual_rates_become_small_where_the_start_is_good() -> None:
    values = [rate_factor(db) for db in (-5.0, 20.0, 22.5, 25.0, 35.0, 40.0, 90.0)]
    assert values == sorted(values, reverse=True)
    assert (
        values[:2] == [1, 1] and values[3] == pytest.approx(10 ** (-2 / 3)) and values[5] == pytest.approx(0.0215, 1e-2)
    )


def test_errors_outside_the_object_count_at_the_start() -> None:
    """A view that is right inside the object's mask, and half covered by something else."""
    setup = build_fit(parse_config(TARGETS + "mesh: {init: bumpy, subdivisions: 3}", Path()))
    views = setup.fit_views
    perfect = replace(views, images=setup.render_views(setup.scene, views.cameras).rgba[..., :3])
    assert start_psnr_db(setup.scene, perfect) > 60
    images = perfect.images.clone()
    images[:, :16][views.masks[:, :16] < 0.5] = 1.0
    assert start_psnr_db(setup.scene, replace(perfect, images=images)) < 5


def test_a_fit_from_a_good_start_loses_little_on_the_way(tmp_path: Path) -> None:
    text = f"{TARGETS}\nmesh: {{init: bumpy, subdivisions: 3, radius: 0.98}}\n"
    text += "material: {type: lambert, base_color: own}\noptimize: {steps: 60, batch_size: null}"
    result, _ = run_small(text.replace("exposure_stops: 0.2", "exposure_stops: 0"), tmp_path)
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    start = rows[0]["psnr_db"]
    assert start > 20
    assert min(row["psnr_db"] for row in rows) > start - 0.5
    assert rows[-1]["psnr_db"] > start
