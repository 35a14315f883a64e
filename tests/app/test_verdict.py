"""Planted mistakes and bad fits: each must be found, with its reason; good fits must raise no alarm."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.planted import (
    Capture,
    blacken_two,
    blank_but_one_pixel,
    capture,
    double_intrinsics,
    empty_masks,
    fill_masks,
    halve_intrinsics,
    invert_masks,
    keep_six,
    keep_two,
    mirror_pictures,
    move_principal_point,
    overexpose,
    paint_background,
    repeat_first_camera,
    shuffle_cameras,
    swap_one_picture,
    swap_two_pictures,
    take_opencv_axes,
    take_world_to_camera,
    turn_pictures,
    turn_pictures_upside_down,
    widen_masks,
)
from support.small_runs import raise_after, run_small
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.app.verdict.reason import Reason, Verdict
from diffrender.errors import DiffrenderError
from diffrender.geometry.primitives import icosphere
from diffrender.scene.mesh import Mesh
from diffrender.writers.meshes.obj import write_obj

SCENE = """
targets: {{path: {path}, test_every: 5}}
mesh: {{init: sphere, subdivisions: 3}}
material: {{type: lambert, base_color: {{vertex: 0.5}}}}
lights:
  - {{name: key, type: directional, direction: [-1, -1, -0.6], radiance: 2.2}}
  - {{name: fill, type: ambient, radiance: 0.35}}
optimize:
  steps: 60
  batch_size: 4
  mesh.vertices: {{schedule: {{type: exponential, final: 0.1}}}}
  material.base_color: {{schedule: {{type: exponential, final: 0.2}}}}
loss: {{image: l1, mask: 1.0, normal_consistency: 0.001}}
progress: {{pictures: 0, video: false, turntable: false}}
export: []
"""


@dataclass(frozen=True)
class Mistake:
    """A planted mistake: what is changed of capture and scene file, and the verdict and reason that it must get.

    verdict: "error" if the run is refused; `key` is then a part of the message.
    ball: radius of a ball in a mesh file, negative: inside out.
    """

    name: str
    verdict: str
    key: str
    overrides: tuple[str, ...] = ()
    plant: Callable[[Capture], None] = lambda _: None
    ball: float | None = None
    is_slow: bool = False


COLORS_ONLY = "optimize={steps: 40, mesh.vertices: off}"
GRAY = "material.base_color=[0.5, 0.5, 0.5]"
MISTAKES = (
    # Masks.
    Mistake("masks that mark the background", "failed", "inverted_masks", plant=invert_masks),
    Mistake("masks of whole images", "failed", "full_masks", plant=fill_masks, is_slow=True),
    Mistake("masks without an object", "error", "the mask holds no object", plant=empty_masks),
    Mistake("masks that are too wide", "doubtful or failed", "wide_masks", plant=widen_masks),
    Mistake("masks with one pixel", "doubtful or failed", "empty_masks", plant=blank_but_one_pixel, is_slow=True),
    # Cameras.
    Mistake("cameras in another order", "failed", "low_iou", plant=shuffle_cameras),
    Mistake("pictures mirrored", "failed", "low_iou", plant=mirror_pictures, is_slow=True),
    Mistake("pictures turned by 90 degrees", "failed", "low_iou", plant=turn_pictures, is_slow=True),
    Mistake("pictures upside down", "failed", "likely_mistake", plant=turn_pictures_upside_down),
    Mistake("two pictures swapped", "doubtful or failed", "odd_views", plant=swap_two_pictures),
    Mistake("one picture twice", "doubtful", "outlier_views", plant=swap_one_picture),
    Mistake("intrinsics of images twice as large", "failed", "other_image_size", plant=double_intrinsics, is_slow=True),
    Mistake("intrinsics of images half as large", "failed", "other_image_size", plant=halve_intrinsics, is_slow=True),
    Mistake("cx equal to the width", "failed", "other_image_size", plant=move_principal_point, is_slow=True),
    Mistake("axes of OpenCV", "error", "multiply the second and third column", plant=take_opencv_axes),
    Mistake("world-to-camera matrices", "error", "invert each transform_matrix", plant=take_world_to_camera),
    Mistake("one matrix for all frames", "error", "check transform_matrix", plant=repeat_first_camera),
    Mistake("two views", "doubtful", "few_viewpoints", ("targets.test_every=null",), keep_two),
    # Pictures.
    Mistake("black pictures", "doubtful", "black_images", plant=blacken_two),
    Mistake("overexposed pictures", "failed", "overexposed_images", plant=overexpose, is_slow=True),
    Mistake(
        "a white background",
        "failed",
        "other_background",
        ("targets.masks=false", "loss.mask=null"),
        paint_background,
        is_slow=True,
    ),
    # The start.
    Mistake("a mesh in millimetres", "failed", "other_units", ball=800.0),
    Mistake("cameras inside the mesh", "failed", "camera_inside_mesh", ("mesh.radius=4",)),
    Mistake("a mesh in kilometres", "error", "its units are not those of the cameras", ball=0.0008),
    Mistake("a mesh inside out", "doubtful", "inside_out", ball=-0.8, is_slow=True),
    Mistake(
        "a start beside the masks",
        "failed",
        "start_misses_masks",
        ("mesh={init: sphere, radius: 0.1, center: [1.1, 1.1, 0]}",),
        is_slow=True,
    ),
    Mistake("a shape that is not learned", "failed", "low_iou", (COLORS_ONLY,)),
    Mistake("too few triangles", "failed", "low_iou", ("mesh.subdivisions=0",)),
    Mistake(
        "triangles below a pixel",
        "doubtful",
        "faces_below_pixels",
        ("mesh.subdivisions=6", "optimize.steps=20"),
        is_slow=True,
    ),
    # Lights and materials.
    Mistake("no light", "failed", "dark_rendering", ("lights=[{type: ambient, radiance: 0.0001}]",)),
    Mistake(
        "far too much light", "failed", "bright_rendering", ("lights=[{type: ambient, radiance: 30}]",), is_slow=True
    ),
    Mistake(
        "too little light",
        "doubtful",
        "at_bound",
        ("lights=[{type: ambient, radiance: 0.1}]", "optimize.material.base_color.lr=0.3"),
        is_slow=True,
    ),
    Mistake(
        "a colour that is not learned",
        "failed",
        "low_psnr",
        (
            "material={type: unlit, base_color: [0.5, 0.5, 0.5]}",
            "lights=null",
            "optimize={steps: 40, material.base_color: off}",
        ),
    ),
    Mistake(
        "white balances that move too fast",
        "doubtful",
        "exposures_ate_light",
        (
            "optimize={steps: 40, cameras.white_balance: {lr: 0.3}, mesh.vertices: {}}",
            "material.base_color=[0.9, 0.1, 0.1]",
        ),
        is_slow=True,
    ),
    Mistake(
        "exposures in place of light",
        "doubtful",
        "exposures_ate_light",
        (
            "optimize={steps: 60, cameras.exposure: {lr: 0.5}, mesh.vertices: {}}",
            GRAY,
            "lights=[{type: directional, direction: [1, 0, 0], radiance: 2.2}, {type: ambient, radiance: 0.1}]",
        ),
        is_slow=True,
    ),
    Mistake(
        "vignetting in place of colours",
        "doubtful",
        "odd_vignetting",
        ("optimize={steps: 60, cameras.vignetting: {lr: 0.2}, mesh.vertices: {}, material.base_color: off}", GRAY),
        is_slow=True,
    ),
    Mistake(
        "a response in place of colours",
        "doubtful",
        "odd_response",
        (
            "optimize={steps: 60, cameras.response: {lr: 0.1, pull: 0}, mesh.vertices: {}, material.base_color: off}",
            "material.base_color=[0.02, 0.02, 0.02]",
        ),
        is_slow=True,
    ),
    # Learning.
    Mistake("vertices too fast", "failed", "learning_rate_too_high", ("optimize.mesh.vertices.lr=2",)),
    Mistake("vertices that overflow", "failed", "diverged", ("optimize.mesh.vertices.lr=1e38",)),
    Mistake(
        "colours too fast", "doubtful", "learning_rate_too_high", ("optimize.material.base_color.lr=20",), is_slow=True
    ),
    Mistake(
        "cameras too fast",
        "doubtful or failed",
        "learning_rate_too_high",
        ("optimize={steps: 60, cameras.pose: {lr: 1.5}, mesh.vertices: {}, material.base_color: {}}",),
        is_slow=True,
    ),
    Mistake("vertices that do not move", "failed", "never_moved", ("optimize.mesh.vertices.lr=1e-12",), is_slow=True),
    Mistake(
        "colours that begin at the end",
        "doubtful",
        "never_moved",
        ("optimize.material.base_color={start: 59, lr: 1e-9}",),
        is_slow=True,
    ),
    Mistake(
        "nothing moves",
        "failed",
        "worse_than_start",
        ("optimize.mesh.vertices.lr=1e-12", "optimize.material.base_color.lr=1e-12"),
    ),
    Mistake(
        "three views and no smoothing",
        "doubtful",
        "heldout_far_below",
        ("targets.test_every=2", "optimize.steps=120", "loss.normal_consistency=0"),
        keep_six,
        is_slow=True,
    ),
    Mistake("four steps", "failed", "too_few_steps", ("optimize.steps=4",)),
    Mistake("hard edges", "failed", "hard_edges", ("render.edges=hard",)),
    Mistake("far too much smoothing", "failed", "regularizer_dominates", ("loss.laplacian=3000",), is_slow=True),
    # Shapes.
    Mistake(
        "orange peel",
        "failed",
        "orange_peel",
        (
            "optimize={steps: 40, mesh.vertices: {method: identity, lr: 0.03}}",
            "loss.normal_consistency=0",
            "mesh.subdivisions=4",
        ),
        is_slow=True,
    ),
    Mistake(
        "folds",
        "failed",
        "folds",
        ("optimize.mesh.vertices={lr: 0.1, method: identity}", "loss.normal_consistency=0"),
        is_slow=True,
    ),
    Mistake(
        "a surface that crosses itself",
        "failed",
        "self_intersections",
        ("optimize.mesh.vertices={lr: 0.06, method: identity}", "loss.normal_consistency=0"),
        is_slow=True,
    ),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Capture]:
    folder = tmp_path_factory.mktemp("pictures")
    return lambda: capture(folder)


def fit_planted(mistake: Mistake, folder: Path, pictures: Callable[[], Capture]) -> tuple[dict, str, Path]:
    """Fit a scene with a planted mistake; return metrics.json, the terminal output and the report's path."""
    planted = pictures()
    mistake.plant(planted)
    overrides = list(mistake.overrides)
    if mistake.ball is not None:
        ball = icosphere(3, abs(mistake.ball))
        faces = ball.faces if mistake.ball > 0 else ball.faces.flip(1)
        write_obj(folder / "ball.obj", Mesh(ball.vertices, faces))
        overrides.append(f"mesh={{file: {folder / 'ball.obj'}}}")
    result, shown = run_small(SCENE.format(path=planted.write(folder / "capture")), folder, *overrides)
    metrics = json.loads((result.folder / "metrics.json").read_text())
    return metrics, shown, result.folder / "report.html"


@pytest.mark.parametrize(
    "mistake",
    [pytest.param(each, id=each.name, marks=pytest.mark.slow if each.is_slow else ()) for each in MISTAKES],
)
def test_a_planted_mistake_is_found(mistake: Mistake, tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    if mistake.verdict == "error":
        with pytest.raises(DiffrenderError) as caught:
            fit_planted(mistake, tmp_path, pictures)
        assert mistake.key in str(caught.value)
        return
    metrics, shown, report = fit_planted(mistake, tmp_path, pictures)
    keys = [reason["key"] for reason in metrics["reasons"]]
    assert metrics["verdict"] in mistake.verdict.split(" or ") and mistake.key in keys, (metrics["verdict"], keys)
    page = html.unescape(report.read_text())
    for reason in metrics["reasons"]:
        assert reason["text"] in page and reason["text"] in " ".join(shown.split())
        assert reason["remedy"]


def spoil_masks(c: Capture) -> None:
    """Move each mask by half a pixel, and cut a part off one in three."""
    for index, picture in enumerate(c.pictures):
        picture[..., 3] = (picture[..., 3] + np.roll(picture[..., 3], 1 if index % 2 else -1, axis=index % 2)) / 2
        if index % 3 == 0:
            picture[:15, :20, 3] = 0


def add_noise(c: Capture) -> None:
    c.pictures[..., :3] += np.random.default_rng(0).normal(0, 12, c.pictures[..., :3].shape)


def crop(c: Capture) -> None:
    c.pictures = c.pictures[:, :, :36]
    c.intrinsics["w"] = 36


def vary_exposure(c: Capture) -> None:
    c.pictures[..., :3] *= np.linspace(0.7, 1.0, len(c.pictures))[:, None, None, None]


VERTICES = "optimize.mesh.vertices"
GOOD = (
    Mistake("as it is", "good", ""),
    Mistake("noisy pictures", "good", "", plant=add_noise),
    Mistake("cropped pictures", "good", "", plant=crop, is_slow=True),
    Mistake("over white", "good", "", ("background=white",), is_slow=True),
    Mistake("random backgrounds", "good", "", ("targets.background=random",)),
    Mistake("colours alone show the shape", "good", "", ("loss={image: l1, normal_consistency: 0.001}",), is_slow=True),
    Mistake(
        "a visual hull, remeshed",
        "good",
        "",
        ("mesh={init: visual_hull}", f"{VERTICES}.remesh=continuous", "loss.normal_consistency=0.05"),
        is_slow=True,
    ),
    Mistake("coarse to fine", "good", "", ("optimize.resolution=0.5",), is_slow=True),
    Mistake("soft edges", "good", "", ("render.edges={type: soft, sigma: 1, samples: 2}",), is_slow=True),
    Mistake("a light that is learned", "good", "", ("optimize.lights.key.direction={}",), is_slow=True),
    Mistake("exposures that are learned", "good", "", ("optimize.cameras.exposure={}",), vary_exposure, is_slow=True),
    Mistake(
        "a lens whose light is learned",
        "good",
        "",
        ("optimize.cameras.vignetting={}", "optimize.cameras.response={}"),
        is_slow=True,
    ),
    Mistake("cameras that are learned", "good", "", ("optimize.cameras.pose={}",), is_slow=True),
    Mistake("a mesh of the user's", "good", "", ball=0.75),
    Mistake("all views are fitted", "good", "", ("targets.test_every=null",), is_slow=True),
)


@pytest.mark.parametrize(
    "fit", [pytest.param(each, id=each.name, marks=pytest.mark.slow if each.is_slow else ()) for each in GOOD]
)
def test_a_good_fit_raises_no_alarm(fit: Mistake, tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    metrics, shown, report = fit_planted(fit, tmp_path, pictures)
    assert (metrics["verdict"], metrics["reasons"]) == ("good", [])
    assert "\n  good  finished after" in shown and '<p class="verdict good">good</p>' in report.read_text()


@pytest.mark.parametrize("plant", [spoil_masks])
def test_imperfect_masks_are_no_failure(
    plant: Callable[[Capture], None], tmp_path: Path, pictures: Callable[[], Capture]
) -> None:
    metrics, _, _ = fit_planted(Mistake("", "", "", plant=plant), tmp_path, pictures)
    assert metrics["verdict"] != "failed", metrics["reasons"]


def test_strict_turns_a_failed_verdict_into_an_exit_status(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    scene = tmp_path / "small.yaml"
    scene.write_text(SCENE.format(path=pictures().write(tmp_path / "capture")))
    for lr, options, status in (("2", [], 0), ("2", ["--strict"], 3), ("0.05", ["--strict"], 0)):
        sets = ["--set", f"optimize.mesh.vertices.lr={lr}", "--out", str(tmp_path / "out"), *options]
        result = CliRunner().invoke(app, ["fit", str(scene), *sets])
        assert result.exit_code == status, result.output
        assert ("failed  finished after 60 steps" in result.output) == (lr == "2")


@pytest.mark.parametrize("limit", ["optimize.steps=12", "optimize={minutes: 0.001}"])
def test_few_steps_come_first(limit: str, tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    small = "mesh={init: sphere, radius: 0.3}"
    metrics, _, _ = fit_planted(Mistake("", "", "", (limit, small)), tmp_path, pictures)
    first, *others = metrics["reasons"]
    assert metrics["verdict"] == "failed" and first["key"] == "few_steps" and others
    assert first["remedy"].endswith("400") and ("minutes: more" in first["remedy"]) == ("minutes" in limit)


def test_an_interrupted_fit_is_doubtful(
    tmp_path: Path, pictures: Callable[[], Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_after(monkeypatch, 50)
    metrics, _, report = fit_planted(Mistake("", "", ""), tmp_path, pictures)
    assert (metrics["verdict"], [reason["key"] for reason in metrics["reasons"]]) == ("doubtful", ["interrupted"])
    assert metrics["reasons"][0]["remedy"] == f"Continue it: diffrender fit --resume {report.parent}"


def test_mistakes_that_show_before_the_fit_are_told_before_it(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    _, shown, _ = fit_planted(Mistake("", "", "", ("optimize.steps=1",), invert_masks), tmp_path, pictures)
    before, after = shown.split("  step 1/1")
    assert "warning   The masks mark the background" in before and "The masks mark the background" in after


def test_causes_come_before_effects_and_one_failure_is_enough() -> None:
    cause, effect = Reason("a", "A", "do a"), Reason("b", "B", "do b", fails=True)
    verdict = Verdict.of([cause, effect, Reason("a", "again", "")])
    assert verdict == Verdict("failed", (cause, effect))
    assert verdict.as_json() == {
        "verdict": "failed",
        "reasons": [{"key": "a", "text": "A", "remedy": "do a"}, {"key": "b", "text": "B", "remedy": "do b"}],
    }
    assert (Verdict.of([]).word, Verdict.of([cause]).word) == ("good", "doubtful")
