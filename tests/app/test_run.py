from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from support.gltf_files import GltfBuilder
from support.small_runs import raise_after, run_small

from diffrender.app.run import RunResult, run_fit
from diffrender.app.run_recorder import evenly_spaced_steps
from diffrender.app.shown_views import ShownViews
from diffrender.config.load import load_config
from diffrender.config.overrides import Override
from diffrender.errors import ConfigError, DataError
from diffrender.readers.gltf.mesh import NO_NORMALS
from diffrender.readers.meshes.obj_materials import HIGHLIGHTS
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.readers.meshes.smoothing import FLAT

SCENE = """
# A small fit.
targets: {resolution: 20, synthetic: {mesh: {init: bumpy, subdivisions: 2}, views: 9, samples: 2}}
mesh: {subdivisions: 1}
lights: [{name: key, type: directional, radiance: 3}, ambient]
optimize: {steps: 4, batch_size: 2, mesh.vertices: , material.base_color: , lights.key.direction: }
progress: {pictures: 3, views: 2, turntable: false}
"""
ALWAYS = [
    "cameras/transforms.json",
    "checkpoints/last.pt",
    "curves.png",
    "lights/lights.json",
    "log.txt",
    "manifest.json",
    "mesh/final.glb",
    "mesh/final_obj/final.obj",
    "mesh/initial.glb",
    "mesh/initial_obj/initial.obj",
    "metrics.json",
    "metrics.jsonl",
    "progress.mp4",
    "progress/step_00000.png",
    "report.html",
    "scene.pt",
    "scene.resolved.yaml",
    "scene.yaml",
    "shape.png",
    "worst.png",
]


# Nothing but the fit and its report.
BARE = ("progress={pictures: 0, video: false, turntable: false}", "export=[]")


def run(folder: Path, *overrides: str | Override) -> tuple[RunResult, str]:
    return run_small(SCENE, folder, *overrides)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read_json(path: Path):
    return json.loads(path.read_text())


def test_a_run_leaves_all_that_is_promised(tmp_path: Path) -> None:
    result, shown = run(tmp_path)
    pictures = [f"cameras/{part}/view_{view:03d}.png" for part in ("images", "masks") for view in range(9)]
    progress = ["progress/step_00002.png", "progress/step_00004.png"]
    assert files_in(result.folder) == sorted([*ALWAYS, *progress, *pictures])
    assert (tmp_path / "out" / "small" / "latest").resolve() == result.folder.resolve()
    assert (result.folder / "scene.yaml").read_text() == SCENE

    metrics = read_json(result.folder / "metrics.json")
    for scores in (metrics["heldout"], metrics["fit"], metrics["initial"]["heldout"], metrics["initial"]["fit"]):
        assert 0 < scores["psnr_masked_db"] < scores["psnr_db"] < 60
        assert 0 < scores["mask_iou"] <= 1
        assert 0 < scores["ssim"] < 1 and 0 < scores["ssim_masked"] < 1
    assert metrics["views"]["heldout"][0].keys() >= metrics["heldout"].keys()
    assert metrics["wall_s"] > 0
    assert metrics["steps_per_s"] > 0
    assert metrics["steps"] == 4

    geometry = metrics["geometry"]
    assert (geometry["watertight"], geometry["components"], geometry["genus"]) == (True, 1, 0)
    assert geometry["n_faces"] == result.fit.scene.objects["object"].mesh.n_faces
    assert 0 < geometry["rms_to_target"] < metrics["initial"]["geometry"]["rms_to_target"]
    assert 0 < geometry["surface_rms_to_target"] < 0.5
    assert geometry["flipped_faces"] == 0 and geometry["damped_vertices"] >= 0
    assert 45 <= metrics["export"]["glb_psnr_db"] <= 99

    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    for row in rows:
        assert row["total"] == pytest.approx(sum(row["terms"].values()), rel=1e-5)

    manifest = read_json(result.folder / "manifest.json")
    assert (manifest["stop_reason"], manifest["steps_done"], manifest["seed"]) == ("finished", 4, 0)
    assert manifest["backends"]
    final = read_mesh(result.folder / "mesh" / "final_obj" / "final.obj").mesh
    vertices = result.fit.scene.objects["object"].mesh.vertices
    assert torch.allclose(final.vertices, vertices, atol=1e-6)
    assert not torch.allclose(
        read_mesh(result.folder / "mesh" / "initial_obj" / "initial.obj").mesh.vertices, vertices, atol=1e-4
    )
    assert len(read_json(result.folder / "cameras" / "transforms.json")["frames"]) == 9

    page = (result.folder / "report.html").read_text()
    for kind, count in (("fit", 7), ("heldout", 2)):
        assert len(metrics["views"][kind]) == count
        for key, mean in metrics[kind].items():
            assert mean == pytest.approx(sum(view[key] for view in metrics["views"][kind]) / count)
        assert all(f"<td>{view['name']}</td>" in page for view in metrics["views"][kind])
    heldout = metrics["heldout"]
    for sentence in ("Finished after 4 of 4 steps", f"{heldout['psnr_db']:.1f} dB", f"{heldout['mask_iou']:.3g}",
                     f"{geometry['rms_to_target']:.3g}", "Evaluated on 2 held-out views. ", "Watertight",
                     "lights.key.direction", "No step flipped a face",
                     "mesh/final.glb matches the fitted scene: PSNR "):  # fmt: skip
        assert sentence in page
    assert (
        page.count("data:image/webp;base64,") == 7
    )  # three pictures, one of them twice, shape, worst views and curves
    linked = set(re.findall(r'href="([^"]+)"', page))
    assert {"mesh/final.glb", "mesh/final_obj/final.obj", "metrics.json", "progress.mp4"} <= linked
    assert all((result.folder / link).exists() for link in linked)

    log = (result.folder / "log.txt").read_text()
    assert str(result.folder) in shown and str(result.folder) in log
    for text in (shown, log):  # what these say of numbers is tested with the writers
        for value in ("lights.key.direction", f"{heldout['psnr_db']:.1f}", f"RMS {geometry['rms_to_target']:.4g} "):
            assert value in text


def test_the_resolved_scene_gives_the_same_fit(tmp_path: Path) -> None:
    first, _ = run(tmp_path, "optimize.seed=3", *BARE)
    resolved = first.folder / "scene.resolved.yaml"
    second = run_fit(load_config(resolved), "again", resolved, tmp_path / "out", Console(file=io.StringIO()))
    assert (second.folder / "scene.resolved.yaml").read_text() == resolved.read_text()
    for metrics in (first.metrics, second.metrics):
        assert metrics["steps"] == 4
    assert first.metrics["heldout"] == second.metrics["heldout"]
    last = [torch.load(each.folder / "checkpoints" / "last.pt")["latents"] for each in (first, second)]
    assert all(torch.equal(last[0][path], last[1][path]) for path in last[0])
    # Only what was requested; the report copes without the rest.
    assert "How it went" not in (first.folder / "report.html").read_text()
    assert "progress.mp4" not in files_in(first.folder)
    assert not any(name.startswith(("progress/", "mesh/")) for name in files_in(first.folder))


@pytest.mark.parametrize("step", [0, 2])
def test_ctrl_c_leaves_the_results_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    raise_after(monkeypatch, step)
    result, _ = run(tmp_path)
    assert result.fit.stop_reason == "interrupted"
    assert set(ALWAYS) <= set(files_in(result.folder))
    assert f"progress/step_{step + 1:05d}.png" in files_in(result.folder)
    assert read_json(result.folder / "manifest.json")["stop_reason"] == "interrupted"
    assert read_json(result.folder / "metrics.json")["steps"] == step + 1
    assert torch.load(result.folder / "checkpoints" / "last.pt")["steps_done"] == step + 1
    assert f"Stopped by Ctrl-C after {step + 1} of 4 steps" in (result.folder / "report.html").read_text()


def test_a_fit_whose_vertices_leave_the_scene_says_so(tmp_path: Path) -> None:
    result, shown = run(tmp_path, "optimize.mesh.vertices.lr=1e6")
    assert result.fit.stop_reason == "diverged" and "diverged" in shown
    assert "mesh.vertices" in read_json(result.folder / "manifest.json")["message"]
    assert "Stopped since vertices left the scene" in (result.folder / "report.html").read_text()


def test_a_fit_that_runs_into_nan_keeps_the_last_good_state(tmp_path: Path) -> None:
    # With steps this large vertices overflow at once.
    result, shown = run(tmp_path, "optimize.mesh.vertices.lr=1e39")
    assert result.fit.stop_reason == "non_finite"
    assert bool(torch.isfinite(result.fit.scene.objects["object"].mesh.vertices).all())
    assert {"mesh/final_obj/final.obj", "manifest.json", "metrics.json", "checkpoints/last.pt"} <= set(
        files_in(result.folder)
    )
    message = read_json(result.folder / "manifest.json")["message"]
    assert "mesh.vertices" in message
    assert message.split(";")[0] in " ".join(shown.split())
    page = (result.folder / "report.html").read_text()
    assert "Stopped by a non-finite value" in page and html.escape(message.split(";")[0]) in page


def test_one_view_and_several_objects(tmp_path: Path) -> None:
    overrides = [
        "mesh=null",
        "lights=null",
        "targets.synthetic.views=1",
        "objects=[{name: a, mesh: {subdivisions: 1, radius: 0.5}}, {name: b, mesh: {init: box}}]",
        "optimize={steps: 2, objects.b.pose: 0.01, cameras.focal: 0.01}",
    ]
    result, shown = run(tmp_path, *overrides)
    assert "heldout" not in result.metrics
    assert "1 view of 20 x 20: 1 fitted" in shown  # in the singular
    assert result.metrics["geometry"]["components"] == 2
    assert result.metrics["geometry"]["objects"]["b"]["n_faces"] == 12
    assert "flipped_faces" not in result.metrics["geometry"]  # no mesh is learned
    assert "flipped a face" not in (result.folder / "report.html").read_text()
    names = files_in(result.folder)
    assert {"mesh/final_a_obj/final_a.obj", "mesh/final_b_obj/final_b.obj", "mesh/final.glb"} <= set(names)


def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(DataError, match="--out"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("steps", "count", "expected"),
    [(10, 3, {0, 5, 10}), (400, 1, {400}), (400, 0, set()), (2, 8, {0, 1, 2}), (7, 2, {0, 7})],
)
def test_pictures_are_spread_evenly_spaced_steps_with_both_ends(steps: int, count: int, expected: set[int]) -> None:
    assert evenly_spaced_steps(steps, count) == expected


def test_pictures_show_the_state_of_their_step_while_the_fit_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = ShownViews.render
    pictures = []
    for folder, delay_s in (("prompt", 0.0), ("late", 0.3)):
        monkeypatch.setattr(ShownViews, "render", lambda *all, delay_s=delay_s: time.sleep(delay_s) or render(*all))
        (tmp_path / folder).mkdir()
        done, _ = run(tmp_path / folder, Override("progress.video", "false"))
        pictures.append([path.read_bytes() for path in sorted(done.folder.glob("progress/*.png"))])
    assert pictures[0] == pictures[1] and len({*pictures[0]}) == 3


def test_a_picture_that_cannot_be_drawn_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr("diffrender.app.run_recorder.write_encoded_png", fail)
    with pytest.raises(DataError, match="the disk is full"):
        run(tmp_path)


@pytest.mark.parametrize("lr", [30, 2000])
def test_a_scale_that_runs_away_ends_the_fit_with_its_results(tmp_path: Path, lr: int) -> None:
    result, shown = run(
        tmp_path, *BARE, Override("pose", "{scale: 0.6}"), Override("optimize", f"{{steps: 8, scale: {{lr: {lr}}}}}")
    )
    assert (tmp_path / "out").exists() and result.metrics["verdict"] != "good" and shown


def test_a_start_that_no_view_sees_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the \d+ fitted views sees the initial scene"):
        run(tmp_path, Override("mesh", "{init: sphere, center: [0, 0, 50], radius: 0.5}"))
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_found_before_the_targets_are_made(tmp_path: Path) -> None:
    scene = tmp_path / "small.yaml"
    scene.write_text(SCENE)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="is a file; choose a writable folder"):
        run_fit(load_config(scene), "small", scene, tmp_path / "file" / "out")


def test_hard_edges_are_warned_of_where_shapes_are_learned(tmp_path: Path) -> None:
    warning = "silhouettes have no gradient"
    result, shown = run(tmp_path, *BARE, Override("render.edges", "hard"))
    assert warning in " ".join(shown.split())
    assert warning in (result.folder / "report.html").read_text()
    assert warning not in " ".join(run(tmp_path, *BARE)[1].split())


def test_annealed_soft_edges_run_and_come_back_from_the_resolved_scene(tmp_path: Path) -> None:
    edges = "{type: soft, sigma: 4.0, anneal: {sigma: [3, 0.5], until: 2, then: antialias}}"
    result, _ = run(tmp_path, *BARE, Override("render.edges", edges))
    again = load_config(result.folder / "scene.resolved.yaml")
    assert again.render.edges.anneal.sigma == (3.0, 0.5)
    assert again.render.edges.anneal.until == 2


@pytest.mark.slow
def test_the_same_bits_on_one_and_two_threads(tmp_path: Path) -> None:
    scene = tmp_path / "small.yaml"
    scene.write_text(SCENE)
    results = []
    for threads in ("1", "2"):
        # In its own process: OMP_NUM_THREADS is read at startup, by torch and for the kernels.
        program = (
            f"import torch; assert torch.get_num_threads() == {threads}; from diffrender.app.cli import main; main()"
        )
        out = tmp_path / threads
        options = ["--out", str(out), "--set", "targets.resolution=72", "--set", "progress={pictures: 0, video: false}"]
        subprocess.run(
            [sys.executable, "-c", program, "fit", str(scene), *options],
            env=os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parents[2])},
            check=True,
            capture_output=True,
        )
        latest = out / "small" / "latest"
        latents = torch.load(latest / "checkpoints" / "last.pt")["latents"]
        results.append(
            ((latest / "mesh" / "final_obj" / "final.obj").read_bytes(), read_json(latest / "metrics.json"), latents)
        )
    (mesh, metrics, latents), (other_mesh, other_metrics, other_latents) = results
    assert metrics["steps"] == 4
    assert mesh == other_mesh
    for scores in ("fit", "heldout", "initial"):
        assert metrics[scores] == other_metrics[scores]
    assert all(torch.equal(latents[path], other_latents[path]) for path in latents)


def test_a_textured_metal_leaves_all_its_maps(tmp_path: Path) -> None:
    metal = "{type: ggx, base_color: {texture: 0.5, resolution: 16}, roughness: {texture: 0.5, resolution: 16}}"
    overrides = [f"material={metal}", "optimize={steps: 1, material.roughness: , lights.environment.radiance: }"]
    result, _ = run(tmp_path, *overrides, "lights=[{type: environment, resolution: 16}]", "progress.video=false")
    names = files_in(result.folder)
    assert {
        "textures/object_base_color.png", "textures/object_roughness.png", "lights/environment.exr",
        "mesh/final_obj/final.mtl", "mesh/final_obj/final.png", "mesh/final_obj/final_roughness.png",
    } <= set(names)  # fmt: skip
    assert result.metrics["export"]["glb_psnr_db"] >= 45
    without, _ = run(tmp_path, *overrides, "lights=[{type: environment, resolution: 16}]", "export=[obj]")
    assert "export" not in without.metrics


def test_a_folder_in_the_place_of_the_link_is_told(tmp_path: Path) -> None:
    result, _ = run(tmp_path, "optimize.steps=1", *BARE)
    assert read_json(result.folder / "manifest.json")["notes"] == []
    latest = result.folder.parent / "latest"
    shutil.copytree(latest, tmp_path / "copy")  # as copies onto other machines are, without links
    latest.unlink()
    (tmp_path / "copy").rename(latest)
    result, shown = run(tmp_path, "optimize.steps=1", *BARE)
    (note,) = read_json(result.folder / "manifest.json")["notes"]
    assert note.startswith(f"{latest} is a folder, not a link, and still holds another run")
    assert "still holds another run" in " ".join(shown.split())


def test_a_failing_video_costs_a_note_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if it were not installed

    def fail(*arguments: object, **options: object) -> float:
        raise DataError("no such file\nat all")

    monkeypatch.setattr("diffrender.app.run.export_psnr_db", fail)
    result, shown = run(tmp_path, "progress.turntable=true")
    notes = json.loads((result.folder / "manifest.json").read_text())["notes"]
    assert len(notes) == 3
    for name, note in zip(("progress.mp4", "turntable.mp4"), notes[:2], strict=True):
        assert note.startswith(f"{name} could not be written: ") and "install imageio-ffmpeg" in note
        assert not (result.folder / name).exists()
    assert notes[2] == "the exported GLB could not be checked: no such file"
    assert "metrics.json" in {path.name for path in result.folder.iterdir()}
    report = html.unescape((result.folder / "report.html").read_text())
    assert all(note in report for note in notes) and "turntable.mp4 could not be written" in shown


TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.uint32)


def write_obj_without_its_library(path: Path) -> list[str]:
    faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in TETRAHEDRON)
    path.write_text("mtllib lost.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n" + faces)
    return ["the material library lost.mtl does not exist"]


def write_glb_with_a_skin_and_holes(path: Path) -> list[str]:
    gltf = GltfBuilder()
    material = gltf.add("materials", {"alphaMode": "MASK", "alphaCutoff": 0.3})
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)
    gltf.node(gltf.primitive(corners, TETRAHEDRON, material=material), skin=0)
    gltf.add("skins", {"joints": [0]})
    gltf.write(path)
    return [
        "transparency (alphaMode MASK) is not supported; its surface is opaque",
        "its skin is not applied: the mesh is shown as modelled",
        NO_NORMALS,
    ]


def write_obj_of_flat_faces_and_highlights(path: Path) -> list[str]:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    path.write_text(f"mtllib flat.mtl\n{corners}usemtl a\ns off\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    (path.parent / "flat.mtl").write_text("newmtl a\nKd 0.5 0.5 0.5\nKs 1 1 1\nNs 90\n")
    return [HIGHLIGHTS, FLAT]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.obj", write_obj_without_its_library),
        ("a.glb", write_glb_with_a_skin_and_holes),
        ("flat.obj", write_obj_of_flat_faces_and_highlights),
    ],
)
def test_notes_of_readers_reach_the_person(tmp_path: Path, name: str, write: Callable[[Path], list[str]]) -> None:
    notes = [f"{name}: {note}" for note in write(tmp_path / name)]
    result, shown = run(tmp_path, f"mesh={tmp_path / name}", "optimize={steps: 1, pose: {}}", *BARE)
    assert json.loads((result.folder / "manifest.json").read_text())["notes"] == notes
    report = html.unescape((result.folder / "report.html").read_text())
    assert all(note in " ".join(shown.split()) and note in report for note in notes)
