"""Masks that are wider than the object, by pictures with its edge inside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from support.planted import capture, paint_background, widen_masks
from support.small_runs import run_small

from diffrender.config.load import parse_config
from diffrender.errors import ConfigError
from diffrender.imaging.color import linear_from_srgb
from diffrender.imaging.metrics import mask_iou
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import ViewFiles, Views
from diffrender.setup.mask_width import excess_px, narrow_masks, photograph_scale
from diffrender.setup.targets import build_targets
from diffrender.writers.images.png import write_png

N, SIDE = 6, 64


def ovals(wider: int, wall: float, ball: float = 0.6, noise: float = 0.05, radius: float = 22) -> Views:
    """Noisy pictures of ovals before a wall, with masks `wider` than them by pixels."""
    generator = torch.Generator().manual_seed(3)
    row, column = torch.meshgrid(torch.arange(SIDE) - 31.3, torch.arange(SIDE) - 30.6, indexing="ij")
    images, masks = [], []
    for index in range(N):
        distance = (row**2 + (column * (1 + 0.1 * index)) ** 2).sqrt() - radius
        coverage = (0.5 - distance).clamp(0, 1)
        inside = distance_transform_edt(distance.numpy() >= 0) <= wider if wider >= 0 else distance.numpy() < wider
        seen = (ball * coverage + wall * (1 - coverage))[..., None].expand(-1, -1, 3)
        grain = torch.from_numpy(gaussian_filter(torch.randn(SIDE, SIDE, 3, generator=generator).numpy(), (1, 1, 0)))
        images.append(linear_from_srgb((seen + noise * grain).clamp(0, 1)))
        masks.append(torch.from_numpy(inside).float())
    eyes = torch.tensor([[0.0, 0, 3]]).expand(N, 3)
    cameras = Cameras.perspective(eyes, height=SIDE, width=SIDE)
    return Views(cameras, torch.stack(images), torch.stack(masks), tuple("abcdef"))


def photographed(views: Views, folder: Path, scale: int = 1) -> Views:
    """Write the pictures as photographs, `scale` times as large."""
    files = []
    for name, image in zip(views.names, views.images, strict=True):
        write_png(folder / f"{name}.png", image.repeat_interleave(scale, 0).repeat_interleave(scale, 1))
        files.append(ViewFiles(folder / f"{name}.png", None, None, scale * SIDE, scale * SIDE))
    return replace(views, files=tuple(files))


@pytest.mark.parametrize("wall", [0.0, 0.35, 0.8])
def test_the_width_is_found_whatever_is_behind(wall: float, tmp_path: Path) -> None:
    for wider in (3, 4, 6):
        assert excess_px(photographed(ovals(wider, wall), tmp_path, wider % 2 + 1)) in (wider - 1, wider)
    for wider in (-2, 0, 1):
        assert excess_px(photographed(ovals(wider, wall), tmp_path)) is None


def test_nothing_is_said_where_nothing_tells(tmp_path: Path) -> None:
    assert excess_px(photographed(ovals(4, 0.6), tmp_path)) is None  # the wall has the colour of the ball
    assert excess_px(photographed(ovals(4, 0.7, noise=0.5), tmp_path)) is None  # patterns as strong as the edge
    assert excess_px(photographed(ovals(4, 0.0, radius=3), tmp_path)) is None  # no interior
    views = photographed(ovals(4, 0.0), tmp_path)
    for index in range(3):  # half of the masks are exact
        views.masks[index] = ovals(0, 0.0).masks[index]
    assert excess_px(views) is None
    assert excess_px(ovals(4, 0.0)) is None  # nobody knows what is around the masks
    inside = torch.tensor([[0, 0, SIDE, SIDE - 1]]).expand(N, 4)
    assert excess_px(replace(photographed(ovals(4, 0.0), tmp_path), boxes=inside)) is None  # other pixels than in files


def test_a_painted_rim_is_a_part_of_the_object(tmp_path: Path) -> None:
    views = ovals(4, 0.0)
    behind = torch.where(views.masks[..., None] > 0, views.images, 0.5)
    rimmed = replace(photographed(replace(views, images=behind), tmp_path), images=views.images)
    assert excess_px(rimmed) is None
    assert excess_px(photographed(views, tmp_path)) in (3, 4)


def test_what_is_not_known_is_not_looked_at(tmp_path: Path) -> None:
    inner, wide = ovals(-1, 0.0), photographed(ovals(4, 0.0), tmp_path)
    is_seam = wide.masks > inner.masks
    assert excess_px(wide) is not None and excess_px(replace(wide, weights=(~is_seam).float())) is None


def test_narrowed_masks_are_those_of_the_object_and_its_rim_is_unmixed(tmp_path: Path) -> None:
    exact, wide = ovals(0, 0.35), photographed(ovals(4, 0.35), tmp_path, 2)
    narrow = narrow_masks(wide, 7.0, (0.0, 1.0, 0.0))  # pixels of photographs; a disc of pixels is 3.5 wider for 4
    assert excess_px(narrow) is None and (narrow.masks <= wide.masks).all()
    assert float(mask_iou(narrow.masks, exact.masks).min()) > 0.97
    assert 0 < ((narrow.masks > 0) & (narrow.masks < 1)).float().mean() < 0.1
    assert (narrow.images[narrow.masks == 0] == torch.tensor([0.0, 1.0, 0.0])).all() and narrow.is_composited


def test_pixels_are_those_of_the_photographs_in_their_boxes(tmp_path: Path) -> None:
    views = photographed(ovals(4, 0.0), tmp_path, 3)
    assert photograph_scale(views) == 3 and photograph_scale(ovals(4, 0.0)) == 1
    left_half = torch.tensor([[0, 0, SIDE // 2, SIDE // 2]]).expand(N, 4)
    assert photograph_scale(replace(views, boxes=left_half)) == 6


def test_masks_of_held_out_views_are_narrowed_too(tmp_path: Path) -> None:
    wide = capture(tmp_path)
    exact = torch.from_numpy(wide.pictures[..., 3]) / 255
    widen_masks(wide)
    wide.write(tmp_path / "wide")
    targets = build_targets(parse_config("targets: {path: wide, shrink_masks: 3, test_every: 2}", tmp_path))
    assert targets.heldout is not None
    # .87 and more; squares widened them, by more than three pixels along diagonals. As given .60 at most.
    for views, true in ((targets.fit, exact[1::2]), (targets.heldout, exact[::2])):
        assert views.masks is not None and float(mask_iou(views.masks, true.float()).mean()) > 0.85
    assert float(mask_iou(torch.from_numpy(wide.pictures[..., 3]).float() / 255, exact.float()).mean()) < 0.65


def test_a_capture_without_masks_has_none_to_narrow(tmp_path: Path) -> None:
    plain = capture(tmp_path)
    paint_background(plain)
    plain.pictures = plain.pictures[..., :3]
    plain.write(tmp_path / "plain")
    with pytest.raises(ConfigError, match="shrink_masks: the capture has no masks"):
        build_targets(parse_config("targets: {path: plain, shrink_masks: 3}", tmp_path))


def test_masks_are_narrowed_neither_at_borders_nor_beside_what_is_not_known() -> None:
    views = ovals(0, 0.35)
    views.masks[:, 20:] = 1
    narrow = narrow_masks(views, 3.0, (0.0, 0.0, 0.0))
    assert (narrow.masks[:, 30:] == 1).all()
    weights = torch.ones(N, SIDE, SIDE)
    weights[:, :, :32], views.masks[:, :, :32] = 0, 0
    narrow = narrow_masks(Views(views.cameras, views.images, views.masks, views.names, weights=weights), 3.0, (0, 0, 0))
    assert (narrow.masks[:, 30:, 32:] == 1).all()


def test_a_run_with_narrowed_masks_writes_them(tmp_path: Path) -> None:
    wide = capture(tmp_path)
    widen_masks(wide)
    wide.write(tmp_path / "wide")
    text = "targets: {path: wide, shrink_masks: 3, test_every: null}\noptimize: {steps: 2}\n"
    result, _ = run_small(text + "progress: {pictures: 0, video: false, turntable: false}\n", tmp_path)
    assert "wide_masks" not in [reason["key"] for reason in result.metrics["reasons"]]
    folders = (tmp_path / "wide", result.folder / "cameras")
    fitted, again = (read_capture(folder, CaptureOptions()).views.masks for folder in folders)
    exact = torch.from_numpy(capture(tmp_path).pictures[..., 3]) / 255
    assert again.shape == exact.shape
    errors = [float((masks - exact).abs().mean()) for masks in (fitted, again)]
    assert errors[1] < errors[0] / 4
