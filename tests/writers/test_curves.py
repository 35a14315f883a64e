from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from diffrender.errors import DataError
from diffrender.writers.report import curves
from diffrender.writers.report.curves import write_curves


def rows(n_steps: int) -> list[dict[str, object]]:
    terms = [{"image": 1 / (step + 1), "mask": 0.1 / (step + 1), "laplacian": 0.01} for step in range(n_steps)]
    return [
        {"step": step, "total": sum(term.values()), "terms": term, "psnr_db": 10.0 + step}
        for step, term in enumerate(terms)
    ]


def colors_in(path) -> set[str]:
    with Image.open(path) as picture:
        pixels = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    return {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in pixels}


def test_every_term_is_drawn_in_its_own_colour(tmp_path):
    write_curves(rows(60), tmp_path / "curves.png")
    drawn = colors_in(tmp_path / "curves.png")
    assert {curves.INK, *curves.COLORS[:3]} <= drawn
    assert not {*curves.COLORS[3:]} & drawn


def test_gaps_zeros_and_a_single_step_do_not_stop_it(tmp_path):
    broken = rows(20)
    broken[3] = {"step": 3, "total": float("nan"), "terms": {"image": 0.0, "late": 0.5}, "psnr_db": None}
    broken[4] = {"step": 4, "total": float("inf")}
    write_curves(broken, tmp_path / "broken.png")
    write_curves(rows(1), tmp_path / "one.png")
    write_curves([{"step": 0, "total": 0.0, "terms": {}, "psnr_db": float("inf")}], tmp_path / "nothing.png")
    assert curves.INK in colors_in(tmp_path / "one.png")


def test_smoothing_keeps_constants_and_gaps():
    values = np.full(100, 3.0)
    values[40:45] = np.nan
    smooth = curves._smooth(values)
    assert np.isnan(smooth[40:45]).all()
    np.testing.assert_allclose(np.delete(smooth, range(40, 45)), 3.0)


def test_no_rows(tmp_path):
    with pytest.raises(DataError, match="no step to draw"):
        write_curves([], tmp_path / "curves.png")


def test_pyplot_is_not_used(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    write_curves(rows(3), tmp_path / "curves.png")
    assert ("matplotlib.pyplot" in sys.modules) == before
