"""Photographs that were undistorted, in the capture of a run: the files themselves, with the lens that they have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.any_capture import read

from diffrender.imaging.lens_distortion import BrownConrady
from diffrender.readers.captures.camera_models import CAMERA_MODELS
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.target_views import PhotographLens, ViewFiles, Views
from diffrender.writers.capture import write_capture
from diffrender.writers.images.png import write_encoded_png
from diffrender.writers.photograph_lens import lens_of_photograph

LENSES = {
    "OPENCV": {"k1": -0.12, "k2": 0.03, "p1": 0.002, "p2": -0.001},
    "SIMPLE_RADIAL": {"k1": -0.1},
    "FULL_OPENCV": {"k1": 0.1, "k4": 0.2, "p1": 0.001},
    "OPENCV_FISHEYE": {"k1": 0.02, "k2": -0.01},
    "THIN_PRISM_FISHEYE": {"k1": 0.02, "p1": 0.003, "sx1": 0.01},
    "RAD_TAN_THIN_PRISM_FISHEYE": {"k0": 0.02, "k2": 0.01, "p1": 0.003, "s2": 0.01},
    "FOV": {"omega": 0.9},
    "DIVISION": {"k": -0.15},
}
HEIGHT, WIDTH = 300, 400


def photographed(folder: Path, model: str) -> Views:
    """A photograph of noise through a lens, at half of its size."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    frame = {"file_path": "a.png", "transform_matrix": torch.eye(4).tolist(), **LENSES[model]}
    own = {"camera_model": model, "fl_x": 310.0, "fl_y": 305.0, "cx": 195.0, "cy": 158.0, "frames": [frame]}
    folder.mkdir()
    write_encoded_png(folder / "a.png", noise)
    (folder / "transforms.json").write_text(json.dumps(own))
    return read(folder, resolution=200).views


def points_of(cameras: Cameras) -> torch.Tensor:
    """Points [M, 3] that the only camera sees."""
    corners = torch.cartesian_prod(*[torch.linspace(0.1, 0.9, 9) * side for side in (cameras.width, cameras.height)])
    return cameras.positions_w() + 3 * cameras.rays(corners[None])[1][0]


def in_photograph(views: Views, points: torch.Tensor, scale: int = 2) -> np.ndarray:
    """Where `points` [M, 3] are in the photograph of the only view: by the camera, and then by the lens.

    scale: of the photograph, times the size of the picture.
    """
    assert views.files is not None and views.files[0] is not None
    lens = views.files[0].lens
    assert lens is not None
    top, left, _, _ = views.photo_boxes()[0]
    seen = scale * (views.cameras.world_to_pixels(points)[0, :, :2].double().numpy() - [left, top])
    bent = lens.distortion.distort(*((seen - lens.center_px) / lens.focal_px).T)
    return np.stack(bent, 1) * lens.focal_px + lens.center_px


@pytest.mark.parametrize("model", LENSES)
def test_an_undistorted_photograph_is_named_with_its_lens_and_is_read_as_the_same_picture(
    model: str, tmp_path: Path
) -> None:
    views = photographed(tmp_path / "given", model)
    moved = views.cameras.cam_from_world.clone()
    moved[:, :3, 3] += 0.1
    turned = replace(views.cameras, cam_from_world=moved)
    write_capture(tmp_path / "written", replace(views, cameras=turned))
    assert [path.name for path in (tmp_path / "written").rglob("*")] == ["transforms.json"]
    again = read(tmp_path / "written", resolution=200).views
    (before,), (after,) = views.files or (), again.files or ()
    assert before is not None and after is not None and after.image.samefile(before.image)
    assert replace(after, image=before.image) == before
    assert torch.equal(again.images, views.images)
    assert (again.weights is None) == (views.weights is None)
    torch.testing.assert_close(again.cameras.cam_from_world, turned.cam_from_world)


@pytest.mark.parametrize("model", LENSES)
def test_what_is_learned_of_a_lens_becomes_numbers_of_its_kind(model: str, tmp_path: Path) -> None:
    views = photographed(tmp_path / "given", model)
    cameras = replace(views.cameras, focal_px=1.03 * views.cameras.focal_px, center_px=views.cameras.center_px + 0.4)
    if model in ("OPENCV", "FULL_OPENCV"):
        left = (torch.full((1,), value) for value in (0.01, -0.005, 0.001, 0.0005))
        cameras = replace(cameras, projection=RadialTangential(*left))
    learned = replace(views, cameras=cameras)
    write_capture(tmp_path / "written", learned)
    assert [path.name for path in (tmp_path / "written").rglob("*")] == ["transforms.json"]
    again = read(tmp_path / "written", resolution=200).views
    points = points_of(cameras)
    before, after = in_photograph(learned, points), in_photograph(again, points)
    assert np.abs(before - in_photograph(views, points)).max() > 2
    np.testing.assert_allclose(after, before, atol=0.05)


@pytest.mark.parametrize("model", LENSES)
def test_a_mask_that_was_found_is_written_as_the_photograph_shows_it(model: str, tmp_path: Path) -> None:
    views = photographed(tmp_path / "given", model)
    y, x = torch.meshgrid(torch.arange(150) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    masks = (0.25 * (40 - ((x - 120) ** 2 + (y - 60) ** 2).sqrt())).clamp(0, 1)[None]
    write_capture(tmp_path / "written", replace(views, masks=masks), has_own_masks=True)
    again = read(tmp_path / "written", resolution=200)
    assert again.views.masks is not None and again.views.masks.shape == (1, 150, 200)
    assert any("1 of its 1 masks have another size than their images" in note for note in again.notes)
    # Steep edges are resampled three times.
    is_known = 1 if views.weights is None else views.weights == 1
    torch.testing.assert_close(again.views.masks * is_known, masks * is_known, atol=0.08, rtol=0)
    assert float((again.views.masks - masks).abs().mean()) < 2e-3


def test_held_out_views_in_which_no_mask_was_found_have_none(tmp_path: Path) -> None:
    views = photographed(tmp_path / "given", "OPENCV")
    (tmp_path / "given" / "b.png").write_bytes((tmp_path / "given" / "a.png").read_bytes())
    assert views.files is not None and views.files[0] is not None
    other = replace(views, files=(replace(views.files[0], image=tmp_path / "given" / "b.png"),), names=("b",))
    found = replace(views, masks=(torch.arange(200) < 90).float().expand(1, 150, 200))
    write_capture(tmp_path / "written", found, other, has_own_masks=True)
    again = read(tmp_path / "written", resolution=200)
    assert again.views.masks is not None and again.read_heldout is not None
    assert again.read_heldout()[0].masks is None


def test_a_lens_that_its_kind_cannot_be_has_its_picture_written(tmp_path: Path) -> None:
    views = photographed(tmp_path / "given", "FOV")
    bent = RadialTangential(*(torch.full((1,), value) for value in (0.0, 0.0, 0.05, 0.0)))
    learned = replace(views, cameras=replace(views.cameras, projection=bent))
    write_capture(tmp_path / "written", learned)
    assert len(list((tmp_path / "written" / "images").iterdir())) == 1
    again = read(tmp_path / "written").views
    points = points_of(views.cameras)
    before = learned.cameras.world_to_pixels(points)[0, :, :2].numpy()
    np.testing.assert_allclose(in_photograph(again, points, 1), before, atol=0.01)


def test_every_kind_of_lens_takes_part() -> None:
    kinds = {model.lens for model in CAMERA_MODELS.values()} - {None}
    assert {CAMERA_MODELS[name].lens for name in LENSES} == kinds


def test_of_large_photographs_the_lens_is_as_near_as_their_small_picture_needs() -> None:
    """OPENCV of 4000 pixels, fitted at 800: within .05 pixels there."""
    center = (1960.0, 1580.0)
    lens = PhotographLens(BrownConrady(k1=-0.3), (3100.0, 3050.0), center)
    files = ViewFiles(Path("a.jpg"), None, None, 4000, 3000, lens)
    cameras = Cameras.perspective(torch.tensor([[0.0, 0, 4]]), height=600, width=800)
    focal, middle = torch.tensor([[620.0, 610.0]]), torch.tensor([[392.0, 316.0]])
    learned = replace(cameras, focal_px=1.02 * focal, center_px=middle + 0.5)
    found = lens_of_photograph(learned, (0, 0, 600, 800), files)
    assert found is not None and found != lens
    assert lens_of_photograph(replace(cameras, focal_px=focal, center_px=middle), (0, 0, 600, 800), files) == lens


def test_each_view_has_its_own_lens_size_and_place(tmp_path: Path) -> None:
    """Three photographs of several sizes on one canvas, of several lenses, with one that is learned."""
    frames = []
    for index, (name, (height, width)) in enumerate(zip(LENSES, ((300, 400), (240, 400), (400, 300)), strict=False)):
        write_encoded_png(tmp_path / f"{index}.png", np.full((height, width, 3), 90, np.uint8))
        frame = {"file_path": f"{index}.png", "transform_matrix": torch.eye(4).tolist(), "camera_model": name}
        frames.append({**frame, "fl_x": 310.0 + index, "cx": width / 2 - 3, "cy": height / 2 + 4, **LENSES[name]})
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    views = read(tmp_path, resolution=200).views
    left = RadialTangential(*(torch.tensor([0.01, 0.0, -0.01]) * scale for scale in (1, -0.5, 0.1, 0.05)))
    learned = replace(views, cameras=replace(views.cameras, projection=left, focal_px=1.01 * views.cameras.focal_px))
    write_capture(tmp_path / "written", learned)
    written = json.loads((tmp_path / "written" / "transforms.json").read_text())["frames"]
    files = [(tmp_path / "written" / frame["file_path"]).resolve() for frame in written]
    assert files == [(tmp_path / f"{index}.png").resolve() for index in range(3)]
    again = read(tmp_path / "written", resolution=200).views
    for index in range(3):
        points = points_of(replace(views.cameras.select([index]), height=120, width=120))
        before, after = (in_photograph(each.select([index]), points) for each in (learned, again))
        np.testing.assert_allclose(after, before, atol=0.1)
