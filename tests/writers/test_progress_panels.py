from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.errors import ShapeError
from diffrender.imaging.tone_mapping import Display
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.writers.images.png import encode_srgb8
from diffrender.writers.report.colormap import difference_colors
from diffrender.writers.report.picture_grid import GAP, HEADER, MARGIN, PictureGrid
from diffrender.writers.report.progress_panels import HATCHING, ProgressPanels


def views(n_views: int, height: int = 160, width: int = 160, names: tuple[str, ...] | None = None) -> Views:
    eye = torch.tensor([[0.0, 0.0, 3.0]]).repeat(n_views, 1)
    cameras = Cameras.perspective(eye, height=height, width=width)
    images = torch.rand(n_views, height, width, 3, generator=torch.Generator().manual_seed(0))
    return Views(cameras, images, None, names or tuple(f"view_{index:03d}" for index in range(n_views)))


def clay(n_views: int) -> torch.Tensor:
    return torch.full((n_views, 2, 2, 3), 0.5)


def cell(pixels: np.ndarray, layout: PictureGrid, view: int, column: int) -> np.ndarray:
    x, y = layout.corner(view, column)
    return pixels[y : y + layout.cell[1], x : x + layout.cell[0]]


@pytest.mark.parametrize("n_views", [1, 3, 4])
def test_cells_hold_target_render_difference_and_shape(n_views):
    target = views(n_views)
    render = torch.zeros(n_views, 160, 160, 4)
    panels = ProgressPanels(target)
    shape = torch.rand(n_views, 160, 160, 3, generator=torch.Generator().manual_seed(1))
    pixels = panels.picture(render, shape, "step 10", "of 40", 0.5)
    layout = panels.grid
    assert pixels.dtype == np.uint8
    assert pixels.shape == (layout.size[1], layout.size[0], 3)
    for view in range(n_views):
        linear = target.images[view].numpy()
        encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        assert np.abs(cell(pixels, layout, view, 0) - encoded * 255).max() < 0.51
        assert (cell(pixels, layout, view, 1) == 0).all()
        index = np.sqrt(np.minimum(cell(pixels, layout, view, 0).mean(-1) / 255 / 0.5, 1)) * 255
        expected = difference_colors()[np.round(index).astype(int)]
        assert (cell(pixels, layout, view, 2) == expected).mean() > 0.999
        assert (cell(pixels, layout, view, 3) == encode_srgb8(shape[view])).all()


def test_a_tone_is_for_the_eye_alone():
    target = views(1)
    target = replace(target, images=target.images * 3)
    render = torch.full((1, 160, 160, 3), 2.0)
    layout = ProgressPanels(target).grid
    plain, toned = (
        ProgressPanels(target, display=display).picture(render, clay(1), "step 1")
        for display in (Display(), Display(-1.0, "neutral"))
    )
    for column, light in ((0, target.images[0]), (1, render[0])):
        assert (cell(plain, layout, 0, column) == encode_srgb8(light)).all()
        assert (cell(toned, layout, 0, column) == encode_srgb8(Display(-1.0, "neutral").map_tones(light))).all()
    for column in (2, 3):
        assert (cell(plain, layout, 0, column) == cell(toned, layout, 0, column)).all()
    # The PSNR above them, too.
    assert (plain[:HEADER] == toned[:HEADER]).all()


def test_one_scale_for_all_pictures():
    target = views(1)
    small = target.images.clone()
    small[:, :80] *= 0.9
    panels = ProgressPanels(target)
    both = [cell(panels.picture(render, clay(1), "step 0"), panels.grid, 0, 2) for render in (small, small * 0)]
    assert (both[0][80:] == 0).all()
    # The same small difference has the same colours whatever else the picture holds.
    mixed = small.clone()
    mixed[:, 80:] = 0
    assert (cell(panels.picture(mixed, clay(1), "step 0"), panels.grid, 0, 2)[:80] == both[0][:80]).all()


def test_identical_images_give_a_black_difference_and_no_warning():
    target = views(2)
    panels = ProgressPanels(target)
    pixels = panels.picture(target.images, clay(2), "step 400", "of 400", 1e-9)
    assert (cell(pixels, panels.grid, 1, 2) == 0).all()


@pytest.mark.parametrize(("height", "width"), [(16, 24), (97, 31), (500, 350), (128, 128)])
def test_size_depends_on_the_views_only_and_cells_do_not_overlap(height, width):
    target = views(4, height, width, names=("a" * 200, "b", "c", "d"))
    panels = ProgressPanels(target)
    shapes = {
        panels.picture(target.images * k, clay(4), f"step {k}", "", loss).shape for k, loss in ((0, None), (1, 1e9))
    }
    assert len(shapes) == 1
    layout = panels.grid
    assert layout.size[0] < 2000
    assert 160 <= max(layout.cell) <= 232
    assert layout.cell[0] / layout.cell[1] == pytest.approx(width / height, rel=0.01)
    assert layout.corner(0, 1)[0] - layout.corner(0, 0)[0] == layout.cell[0] + GAP
    x, y = layout.corner(3, 3)
    assert x + layout.cell[0] + MARGIN <= layout.size[0]
    assert y + layout.cell[1] < layout.size[1]
    assert layout.corner(0, 0) == (MARGIN, HEADER)


def test_the_header_shows_the_numbers():
    target = views(1)
    panels = ProgressPanels(target)
    header = [
        panels.picture(target.images * 0.5, clay(1), "step 1", "of 9", loss)[: HEADER - 30] for loss in (0.5, 0.25)
    ]
    half = header[0].shape[1] // 3
    assert (header[0][:, :half] == header[1][:, :half]).all()
    assert (header[0] != header[1]).any()


def test_write_gives_the_same_pixels(tmp_path):
    target = views(1)
    pixels = ProgressPanels(target).write(tmp_path / "deep" / "worst.png", target.images, clay(1), "worst view")
    with Image.open(tmp_path / "deep" / "worst.png") as picture:
        assert (np.asarray(picture) == pixels).all()


def test_wrong_arguments():
    with pytest.raises(ShapeError, match=r"rgba must have shape \[2, 160, 160, C\], got \[1, 160, 160, 4\]"):
        ProgressPanels(views(2)).picture(torch.zeros(1, 160, 160, 4), clay(2), "step 0")
    with pytest.raises(ShapeError, match=r"clay must have shape \[2, h, w, 3\], got \[1, 2, 2, 3\]"):
        ProgressPanels(views(2)).picture(torch.zeros(2, 160, 160, 4), clay(1), "step 0")
    with pytest.raises(ShapeError, match="at least one view"):
        ProgressPanels(views(1).select([]))
    with pytest.raises(ShapeError, match="positive, got 0"):
        ProgressPanels(views(1), difference_range=0)


def test_colours_begin_black_and_get_evenly_lighter():
    colors = difference_colors().astype(float) / 255
    assert (colors[0] == 0).all()
    assert colors[-1].min() > 0.7
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    steps = np.diff(np.cbrt(luminance)[::15])  # wide enough that rounding to bytes does not matter
    assert steps.min() > 0.4 * steps.mean()
    # The very first colours are further apart: a difference of one byte should just be seen.
    assert steps[0] < 0.15
    assert steps[1:].max() < 1.2 * steps.mean()


def test_what_targets_do_not_know_is_hatched_and_differs_by_nothing():
    target = replace(views(1), weights=torch.ones(1, 160, 160))
    target.weights[0, :, 80:] = 0
    target.images[0, :, 80:] = torch.nan
    render = torch.cat([target.images.nan_to_num(0.7), torch.ones(1, 160, 160, 1)], 3)
    render[0, :, :80, :3] = 0
    panels = ProgressPanels(target)
    pixels = panels.picture(render, clay(1), "step 1")
    shown, drawn, difference = (cell(pixels, panels.grid, 0, column) for column in range(3))
    grays = {tuple(color) for color in shown[:, 80:].reshape(-1, 3).tolist()}
    assert grays == {(gray,) * 3 for gray in HATCHING}
    assert (shown[:, :80] == encode_srgb8(target.images[0, :, :80])).all() and (drawn[:, 80:] > 200).all()
    assert (difference[:, 80:] == difference_colors()[0]).all() and (difference[:, :80] != difference_colors()[0]).any()
    alone = ProgressPanels(replace(target, images=target.images.nan_to_num(1.0)))
    assert (alone.picture(render, clay(1), "step 1") == pixels).all()
