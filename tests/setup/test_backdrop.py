"""Masks of what is in front of a backdrop of one colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.ball_capture import GRAY, built, views, write

from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.scene.target_views import Views
from diffrender.setup.backdrop import find_backdrop, with_masks
from diffrender.setup.fit_setup import build_fit


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_masks_before_a_plain_backdrop(noise: float) -> None:
    found, truth = views(noise=noise)
    backdrop = find_backdrop(found)
    assert backdrop is not None and backdrop.linear == pytest.approx((GRAY,) * 3, abs=0.01)
    masked, lost, apart, cut_off = with_masks(found, backdrop)
    assert masked.masks is not None and not lost and not apart and not cut_off
    overlap = torch.minimum(masked.masks, truth).sum((1, 2)) / torch.maximum(masked.masks, truth).sum((1, 2))
    assert float(overlap.min()) > 0.93
    # Fractions at borders: areas are not those of fat masks.
    assert float((masked.masks.sum() / truth.sum() - 1).abs()) < 0.02


def test_other_pictures_have_no_backdrop() -> None:
    found, _ = views()
    ramp = torch.linspace(0, 1, 64)[:, None, None].expand(64, 64, 3)
    busy = Views(found.cameras, (found.images + ramp).clamp(0, 1), None, found.names)
    assert find_backdrop(busy) is None
    empty = Views(found.cameras, torch.full_like(found.images, GRAY), None, found.names)
    backdrop = find_backdrop(empty)
    assert backdrop is not None and with_masks(empty, backdrop) == (empty, list(empty.names), [], [])


def test_a_surface_of_the_backdrops_colour_is_not_a_hole() -> None:
    found, truth = views()
    images = found.images.clone()
    images[:, 30:34, 30:34] = GRAY + 0.02  # not quite
    images[:, 20:23, 30:33] = GRAY  # see-through
    backdrop = find_backdrop(found)
    assert backdrop is not None
    masked, *_ = with_masks(Views(found.cameras, images, None, found.names), backdrop)
    assert masked.masks is not None
    assert bool((masked.masks[:, 31:33, 31:33] == 1).all()) and bool((masked.masks[:, 21, 31] < 0.2).all())
    assert float((truth[:, 31, 31] - 1).abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("text", "n_parts"),
    [
        ("", 1),
        ("objects: [{name: a, mesh: {init: sphere, center: [1, 0, 0]}}, {name: b, mesh: sphere}]", 2),
        ("objects: [{name: a, mesh: {init: box}}, {name: b, mesh: {init: sphere, center: [1, 0, 0]}}, {name: c}]", 3),
        ("mesh: {init: visual_hull, components: all}", 3),
    ],
)
def test_masks_of_several_objects_before_a_backdrop(tmp_path: Path, text: str, n_parts: int) -> None:
    write(tmp_path, masked=False)
    for path in tmp_path.glob("*.png"):
        pixels = np.array(Image.open(path))
        pixels[2:16, 2:16], pixels[49:61, 49:61] = 250, 10
        Image.fromarray(pixels).save(path)
    setup = built(tmp_path, text)
    assert setup.fit_views.masks is not None
    corners = setup.fit_views.masks[:, [8, 55], [8, 55]]
    assert bool((corners == torch.tensor([n_parts > 1, n_parts > 2])).all())
    told = [note for note in setup.notes if "another part in front of its backdrop in 7 of its pictures" in note]
    assert len(told) == (n_parts < 3)
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    torch.testing.assert_close(again.fit_views.masks, setup.fit_views.masks, rtol=0, atol=0)


def test_exposures_before_a_backdrop_are_learned(tmp_path: Path) -> None:
    # The backdrop was photographed as well, unlike one that a reader puts behind masks.
    write(tmp_path, masked=False)
    setup = built(tmp_path, "optimize: {cameras.exposure: {}}")
    assert setup.fit_views.masks is not None and "cameras.exposure" in setup.model.latents
