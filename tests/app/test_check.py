"""`diffrender check`: planted mistakes are named with their remedy, sound captures raise no alarm."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import planted
from support.planted import Capture, capture
from typer.testing import CliRunner

from diffrender.app.check.view_rows import MOST_REMARKABLE, ViewRow, view_table, worst_first
from diffrender.app.cli import app

DATA = Path(__file__).parents[3] / "shared" / "data"

# What is planted, the key of its reason, and words of it or of its remedy.
MISTAKES = {
    "opencv": (planted.take_opencv_axes, "likely_mistake", "OpenCV axes (y down, z forward)"),
    "world to camera": (planted.take_world_to_camera, "likely_mistake", "undone: world-to-camera matrices. Invert"),
    "opencv world to camera": (planted.take_opencv_world_to_camera, "likely_mistake", "matrices in OpenCV axes"),
    "pytorch3d": (planted.take_pytorch3d_axes, "likely_mistake", "PyTorch3D"),
    "rotations": (planted.transpose_rotations, "likely_mistake", "Transpose the upper left 3 x 3"),
    "translations": (planted.give_world_to_camera_translations, "likely_mistake", "by -R t"),
    "scale": (planted.scale_positions, "other_units", "millimetres and metres"),
    "twice as large": (planted.double_intrinsics, "likely_mistake", "multiply them by 0.5"),
    "half as large": (planted.halve_intrinsics, "likely_mistake", "multiply them by 2"),
    "extended, three quarters": (planted.extend_and_shrink, "likely_mistake", "multiply them by 1.33"),
    "focal length": (planted.shorten_focal, "likely_mistake", "focal lengths 0.57 times as large as true ones"),
    "full masks": (planted.fill_three_masks, "odd_views", "of its mask, which fills its picture, misses their hull"),
    "four views": (planted.keep_four, "few_viewpoints", "what is between their outlines is a guess"),
    "half a pixel": (planted.take_whole_pixel_centers, "half_pixel", "add 0.5 to cx and cy"),
    "half a pixel too much": (planted.add_half_a_pixel, "half_pixel", "subtract 0.5 from cx and cy"),
    "cx and cy": (planted.crop_and_swap_center, "likely_mistake", "Swap cx and cy"),
    "inverted": (planted.invert_masks, "likely_mistake", "masks that mark the background"),
    "mirrored": (planted.mirror_pictures, "likely_mistake", "images mirrored, left for right"),
    "turned": (planted.turn_pictures, "likely_mistake", "images turned by 90 degrees to the left"),
    "upside down": (planted.turn_pictures_upside_down, "likely_mistake", "images upside down"),
    "next camera": (planted.shift_order, "likely_mistake", "each image is that of the camera before"),
    "shuffled": (planted.shuffle_cameras, "masks_contradict", "their order"),
    "one pose": (planted.turn_one_camera, "odd_views", "1 of 10 views do not agree with the others: view_03"),
    "one mirrored": (planted.mirror_one_picture, "odd_views", "view_07: images mirrored, left for right"),
    "a degree off": (planted.turn_cameras_a_little, "inexact_cameras", "The cameras are not exact"),
    "two swapped": (planted.swap_two_pictures, "odd_views", "swap its image with that of view_06"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Capture]:
    folder = tmp_path_factory.mktemp("pictures")
    return lambda: capture(folder)


def run_check(path: Path, out: Path, *options: str) -> tuple[int, str, dict]:
    """Run the command; return exit status, output, and the numbers."""
    file = out / "check.json"
    result = CliRunner().invoke(app, ["check", str(path), "--out", str(out), "--json", str(file), *options])
    return result.exit_code, result.output, json.loads(file.read_text()) if file.exists() else {}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_named(name: str, tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    plant, key, words = MISTAKES[name]
    spoiled = pictures()
    plant(spoiled)
    status, shown, found = run_check(spoiled.write(tmp_path / "capture"), tmp_path / "out", "--strict")
    reasons = {reason["key"]: f"{reason['text']}. {reason['remedy']}" for reason in found["reasons"]}
    assert words in reasons.get(key, ""), (reasons, found["silhouettes"])
    assert reasons[key].split(". ")[0] in " ".join(shown.split())
    assert status == (3 if found["verdict"] == "failed" else 0)
    if key == "likely_mistake":
        assert found["verdict"] == "failed" and next(iter(reasons)) == key


def test_what_is_known_of_half_a_pixel_is_told(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    _, shown, _ = run_check(pictures().write(tmp_path / "sound"), tmp_path / "out")
    known = re.search(r"shifted by \(([+-][.0-9]+) \+- ([.0-9]+), ([+-][.0-9]+) \+- ([.0-9]+)\) of their pixels", shown)
    assert known is not None and all(abs(float(each)) < 0.1 for each in known.groups()), shown
    large = pictures()
    large.pictures = large.pictures.repeat(8, 1).repeat(8, 2)
    large.scale_intrinsics(8)
    large.intrinsics |= {"w": large.pictures.shape[2], "h": large.pictures.shape[1]}
    _, shown, _ = run_check(large.write(tmp_path / "large"), tmp_path / "out2")
    assert "masks do not tell whether cx and cy are half a pixel off" in " ".join(shown.split())


def test_views_are_in_the_order_of_the_capture_whichever_are_held_out(
    tmp_path: Path, pictures: Callable[[], Capture]
) -> None:
    folder = pictures().write(tmp_path / "capture")
    _, _, found = run_check(folder, tmp_path / "out", "--set", "targets.test_every=3")
    assert [view["name"] for view in found["views"]] == [f"view_{i:02d}" for i in range(10)]
    heldout = [view["name"] for view in found["views"] if "held out" in view["notes"]]
    assert heldout == ["view_00", "view_03", "view_06", "view_09"]


def leave_out_masks(c: Capture) -> None:
    c.pictures[..., :3] = c.pictures[..., :3] * c.pictures[..., 3:] / 255 + np.random.default_rng(0).uniform(
        0, 60, c.pictures[..., :3].shape
    )
    c.pictures[..., 3] = 255


def crop(c: Capture) -> None:
    c.pictures = c.pictures[:, :, :36]
    c.intrinsics["w"] = 36


@pytest.mark.parametrize("change", [lambda _: None, crop])
def test_a_sound_capture_raises_no_alarm(
    change: Callable[[Capture], None], tmp_path: Path, pictures: Callable[[], Capture]
) -> None:
    sound = pictures()
    change(sound)
    folder = sound.write(tmp_path / "capture")
    before = sorted(tmp_path.rglob("*"))
    status, shown, found = run_check(folder, tmp_path / "out", "--strict")
    assert (status, found["verdict"], found["reasons"]) == (0, "good", [])
    assert found["silhouettes"]["outlines_agree"] > 0.97 and found["silhouettes"]["tried"] is None
    assert min(view["start_iou"] for view in found["views"]) > 0.85
    assert [view["name"] for view in found["views"]] == [f"view_{i:02d}" for i in range(10)]
    assert [view["name"] for view in found["views"] if "held out" in view["notes"]] == ["view_00", "view_08"]
    new = {path.relative_to(tmp_path).as_posix() for path in set(tmp_path.rglob("*")) - set(before)}
    assert new == {"out", "out/check.json", "out/check.png", "out/cameras.png"}
    assert "  good  10 views checked" in shown


@pytest.mark.parametrize(
    "capture", ["middlebury_dino_sparse_ring", "nerf_synthetic_lego", "mitsuba_blub", "mitsuba_blub/no_masks.json"]
)
def test_real_captures_raise_no_alarm(capture: str, tmp_path: Path) -> None:
    if not (DATA / capture).exists():
        pytest.skip("needs shared/data")
    _, _, found = run_check(DATA / capture, tmp_path)
    assert (found["verdict"], found["reasons"]) == ("good", [])


def test_without_masks_it_says_what_cannot_be_checked(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    plain = pictures()
    leave_out_masks(plain)
    _, shown, found = run_check(plain.write(tmp_path / "capture"), tmp_path / "out")
    assert found["silhouettes"] is None and "silhouettes and cameras cannot be compared" in shown
    assert 0.3 < found["directions_seen"] <= 1 and found["verdict"] != "failed"


def test_without_masks_the_cameras_alone_tell_flipped_axes(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    plain = pictures()
    leave_out_masks(plain)
    planted.take_opencv_axes(plain)
    _, _, found = run_check(plain.write(tmp_path / "capture"), tmp_path / "out")
    assert "read as OpenCV axes" in str(found["reasons"])


def test_a_scene_file_with_minutes_is_checked(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    scene = tmp_path / "scene.yaml"
    scene.write_text(f"targets: {{path: {pictures().write(tmp_path / 'capture')}}}\noptimize: {{minutes: 1}}\n")
    status, _, found = run_check(scene, tmp_path / "out")
    assert (status, found["verdict"]) == (0, "good")


def test_what_cannot_be_read_is_an_error(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    folder = pictures().write(tmp_path / "capture")
    (folder / "view_03.png").unlink()
    status, shown, _ = run_check(folder, tmp_path / "out")
    assert status == 1 and "view_03.png" in shown and not (tmp_path / "out").exists()


def test_pictures_show_masks_and_start_in_two_colours(tmp_path: Path, pictures: Callable[[], Capture]) -> None:
    run_check(pictures().write(tmp_path / "capture"), tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "check.png"))
    for color in ((0x56, 0xB4, 0xE9), (0xFF, 0x7A, 0x00)):
        assert (pixels == color).all(-1).sum() > 500
    assert np.asarray(Image.open(tmp_path / "cameras.png")).std() > 5


def row(name: str, iou: float, *notes: str) -> ViewRow:
    return ViewRow(name, 256, 192, 0.3, 0.0, None, iou, 4.0, (300.0, 300.0), 0.0, notes)


def test_hundreds_of_views_are_those_that_stand_out_and_a_summary() -> None:
    rows = [row(f"v{i}", 0.9 + i / 10000) for i in range(300)]
    rows[250] = row("v250", 0.95, "does not agree")
    rows[120] = row("v120", 0.93, "empty mask")
    table = view_table(rows)
    names = list(table.columns[0].cells)
    assert table.row_count == MOST_REMARKABLE + 1
    assert {"v250", "v120", "v0"} <= {str(name) for name in names} and str(names[-1]) == "280 others"
    assert worst_first(rows)[:2] == [250, 0]
