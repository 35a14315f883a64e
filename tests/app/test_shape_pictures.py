from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.app.evaluation import Evaluator
from diffrender.app.shape_pictures import _zoom_in, least_seen_side, write_shape, write_worst
from diffrender.app.shown_views import ShownViews
from diffrender.config.load import load_config
from diffrender.fit.loop import FitResult
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.writers.report.shape_picture import CELL, encode_view_normals, shape_grid

SCENE = """
targets: {resolution: 24, synthetic: {mesh: {init: box, size: [0.8, 0.8, 0.8]}, views: 9, samples: 1}}
mesh: {subdivisions: 1, radius: 0.5}
optimize: {steps: 1, mesh.vertices: }
"""


@pytest.fixture
def setup(tmp_path: Path) -> FitSetup:
    (tmp_path / "small.yaml").write_text(SCENE)
    return build_fit(load_config(tmp_path / "small.yaml"))


def result_of(setup: FitSetup) -> FitResult:
    return FitResult(setup.scene, setup.fit_views.cameras, "finished", None, 1, 1.0)


def read_cell(path: Path, n_views: int, n_columns: int, view: int, column: int) -> np.ndarray:
    grid = shape_grid(n_views, n_columns)
    with Image.open(path) as picture:
        assert picture.size == grid.size
        x, y = grid.corner(view, column)
        return np.asarray(picture)[y : y + CELL, x : x + CELL]


def test_a_known_target_is_beside_the_result(setup: FitSetup, tmp_path: Path) -> None:
    setup = replace(setup, scene=setup.target_scene)
    shown = ShownViews.spread(setup, 2)
    write_shape(tmp_path / "shape.png", setup, result_of(setup), shown)
    for column, view in ((0, 1), (2, 1), (0, 2), (2, 2)):
        same = [read_cell(tmp_path / "shape.png", 3, 4, view, beside) for beside in (column, column + 1)]
        assert (same[0] == same[1]).all() and same[0].std() > 10
    write_shape(tmp_path / "photo.png", replace(setup, target_scene=None), result_of(setup), shown)
    assert (read_cell(tmp_path / "photo.png", 3, 2, 2, 1) == same[0]).all()


@pytest.mark.parametrize("height", [0.0, 0.7])
def test_the_side_seen_least_is_the_farthest_from_all_cameras(setup: FitSetup, height: float) -> None:
    """Of a ring of cameras at a height it is below; of one camera it is behind."""
    angles = torch.arange(8) * (torch.pi / 4)
    eyes = torch.stack([angles.cos(), torch.full_like(angles, height), angles.sin()], 1) * 3
    for ring, expected in ((eyes, [0.0, -1.0, 0.0]), (eyes[:1], (-eyes[0] / eyes[0].norm()).tolist())):
        side = least_seen_side(Cameras.perspective(ring, height=24, width=32), setup.scene)
        towards = torch.nn.functional.normalize(side.positions_w()[0], dim=0)
        # Where a ring is level, above is as far.
        along = float(towards @ torch.tensor(expected))
        assert (abs(along) if height == 0 else along) > 0.99
        covered = render(setup.scene, side).face_id[0] >= 0
        assert covered.any() and not (covered[0].any() or covered[-1].any())


def test_the_shape_fills_its_cell(setup: FitSetup) -> None:
    cameras = _zoom_in(setup.fit_views.cameras, [setup.scene], 100)
    for covered in render(setup.scene, cameras).face_id >= 0:
        row_column = covered.nonzero()
        low, high = row_column.amin(0), row_column.amax(0) + 1
        assert 80 <= int((high - low).amax()) <= 100
        assert ((low + high) / 2 - 50).abs().max() < 8


def test_normals_towards_the_viewer_are_blue() -> None:
    normals = torch.tensor([[0.0, 0, -1], [0.5, 0, 0], [0, -1, 0], [0, 0, 0]])[None, None]
    colors = encode_view_normals(normals, torch.tensor([[[1.0, 1, 1, 0]]]))
    assert colors[0, 0].tolist() == [[128, 128, 255], [255, 128, 128], [128, 255, 128], [0x20, 0x22, 0x26]]


def test_the_worst_views_are_shown(setup: FitSetup, tmp_path: Path) -> None:
    heldout, fit = setup.heldout_views, setup.fit_views
    assert heldout is not None
    images = fit.images.clone()
    images[3] = 1
    bad = heldout.images.clone()
    bad[1] = 1
    setup = replace(setup, fit_views=replace(fit, images=images), heldout_views=replace(heldout, images=bad))
    final = Evaluator(setup).evaluate(setup.scene, fit.cameras)
    shown = ShownViews.worst(setup, final)
    assert shown.views.names == (fit.names[3], f"{heldout.names[1]}, held out")
    write_worst(tmp_path / "worst.png", setup, result_of(setup), final)
    with Image.open(tmp_path / "worst.png") as picture:
        assert picture.width < 2000
