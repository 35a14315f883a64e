"""What photographs do not show of the scene has no influence on a run: garbage there leaves every bit as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.planted import SIZE, capture
from support.small_runs import run_small

from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import Capture

# Carved, of colours and silhouettes, on small images first; with gains, and textures of which no view shows all.
CARVED = """
targets: {path: capture, ignore: capture/ignore, test_every: 4, resolution: 30}
optimize: {steps: 5, batch_size: 3, resolution: 0.5, cameras.exposure: {}, cameras.pose: {}}
loss: {image: {type: pyramid}, mask: mask_iou}
progress: {pictures: 2, views: 4, turntable: false, video: false}
export: [obj]
"""
# From a sphere, in front of random backgrounds.
RANDOM = """
targets: {path: capture, ignore: capture/ignore, test_every: 4, background: random}
mesh: {init: sphere, subdivisions: 2}
lights: [ambient]
optimize: {steps: 4, mesh.vertices: {}, material.base_color: {}}
loss: {image: l1, mask: l1}
progress: {pictures: 0, turntable: false, video: false}
export: [obj]
"""
# Without masks: some are found in front of the backdrop.
BACKDROP = RANDOM.replace(", background: random", "")
TIMES = ("wall_s", "fit_s", "phase_s", "steps_per_s", "seconds")


def ignored(view: int) -> np.ndarray:
    """What to ignore in a view, of 255: a side, which goes over the object, with a gray border, and a spot."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    picture[:, 26:], picture[:, 25] = 255, 100
    picture[4:9, 4:9] = 255
    return np.rot90(picture, view).copy()


def write_capture(folder: Path, seed: int, has_masks: bool) -> None:
    """Write a capture with random colours and transparency where it is ignored; one picture has another size."""
    (folder / "temporary").mkdir(parents=True)
    pictures = capture(folder / "temporary")
    if not has_masks:
        alpha = pictures.pictures[..., 3:] / 255
        pictures.pictures = pictures.pictures[..., :3] * alpha + 90 * (1 - alpha)
    random = np.random.default_rng(seed)
    masks = np.stack([ignored(view) for view in range(len(pictures.pictures))])
    garbage = random.integers(0, 256, pictures.pictures.shape)
    pictures.pictures = np.where(masks[..., None] == 255, garbage, pictures.pictures)
    path = pictures.write(folder / "capture")
    (path / "ignore").mkdir()
    for view, mask in enumerate(masks):
        Image.fromarray(mask).save(path / "ignore" / f"view_{view:02d}.png")
    for part in (path, path / "ignore"):
        cropped = Image.open(part / "view_05.png").crop((0, 0, SIZE, SIZE - 6))
        cropped.save(part / "view_05.png")
    content = json.loads((path / "transforms.json").read_text())
    content["frames"][5]["h"] = SIZE - 6
    (path / "transforms.json").write_text(json.dumps(content))


def without_times(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: without_times(each) for key, each in values.items() if key not in TIMES}
    return [without_times(each) for each in values] if isinstance(values, list) else values


def fill_unknown(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """Put `value` where weights are 0 into the images and masks that are read: readers may leave anything there."""

    def read(*arguments: Any) -> Capture:
        capture = read_capture(*arguments)
        views = capture.views
        assert views.weights is not None and bool((views.weights == 0).any((1, 2)).all())
        unknown = views.weights == 0
        images = views.images.masked_fill(unknown[..., None], value)
        masks = None if views.masks is None else views.masks.masked_fill(unknown, value)
        return replace(capture, views=replace(views, images=images, masks=masks))

    monkeypatch.setattr("diffrender.setup.targets.read_capture", read)


def results_of(text: str, folder: Path, seed: int, has_masks: bool, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The files of a run, without what is about its duration."""
    write_capture(folder, seed, has_masks)
    fill_unknown(monkeypatch, seed)
    result, shown = run_small(text, folder)
    assert "in front of it are found" in shown or has_masks
    found: dict[str, Any] = {
        name: path.read_bytes()
        for path in sorted(result.folder.rglob("*"))
        if path.suffix in (".obj", ".png") and (name := str(path.relative_to(result.folder))) != "curves.png"
    }
    found["cameras"] = (result.folder / "cameras" / "transforms.json").read_text()
    found["metrics"] = without_times(json.loads((result.folder / "metrics.json").read_text()))
    rows = (result.folder / "metrics.jsonl").read_text().splitlines()
    return found | {"rows": without_times([json.loads(row) for row in rows])}


@pytest.mark.parametrize(("text", "has_masks"), [(CARVED, True), (RANDOM, True), (BACKDROP, False)])
def test_garbage_that_is_ignored_changes_nothing(
    tmp_path: Path, text: str, has_masks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (results_of(text, tmp_path / str(seed), seed, has_masks, monkeypatch) for seed in (0, 1))
    assert one.keys() == other.keys() and len(one) > 4
    assert [name for name in one if one[name] != other[name]] == []
