"""Colours of objects at their outline, of which opaque photographs show only a mixture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.transforms_captures import capture, read, save

from diffrender.imaging.rim_colors import REACH, replace_rim_colors

SIZE = 48
RED, GREEN = torch.tensor([0.6, 0.1, 0.0]), torch.tensor([0.0, 0.9, 0.1])


def disc(softness: float, radius: float = 14.0) -> torch.Tensor:
    """Coverage of a disc, whose edge is `softness` pixels wide."""
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    return ((radius - torch.hypot(x - 20.3, y - 25.8)) / max(softness, 1e-6) + 0.5).clamp(0, 1)


def photograph(mask: torch.Tensor, color: torch.Tensor = RED) -> torch.Tensor:
    return mask[..., None] * color + (1 - mask[..., None]) * GREEN


@pytest.mark.parametrize("softness", [1.0, 2.0])
def test_what_is_behind_does_not_show_at_the_rim(softness: float) -> None:
    mask = disc(softness)
    rgb = photograph(mask)
    replace_rim_colors(rgb, mask)
    torch.testing.assert_close(rgb[mask > 0], RED.expand(int((mask > 0).sum()), 3))
    torch.testing.assert_close(rgb[mask == 0], GREEN.expand(int((mask == 0).sum()), 3))


def test_a_mask_without_fractions_hides_a_mixture_one_pixel_wide() -> None:
    mask = disc(1.0)
    rgb = photograph(mask)
    before = float((rgb[mask > 0.5] - RED).abs().sum())
    replace_rim_colors(rgb, (mask > 0.5).float())
    # Pixels that are covered by nine tenths may be two deep.
    assert float((rgb[mask > 0.5] - RED).abs().sum()) < 0.2 * before


def test_the_inside_keeps_its_colours_to_the_bit_and_the_rim_those_beside_it() -> None:
    mask = disc(1.0)
    x = torch.arange(SIZE) / SIZE
    ramp = torch.stack([x, 0.5 * x, 1 - x], -1).expand(SIZE, SIZE, 3)
    rgb = photograph(mask, ramp)
    before = rgb.clone()
    replace_rim_colors(rgb, mask)
    inside = -torch.nn.functional.max_pool2d(-mask[None], 3, 1, 1)[0] == 1
    assert torch.equal(rgb[inside], before[inside])
    assert float((rgb - ramp)[mask > 0].abs().max()) < 2.5 / SIZE


def test_what_has_no_inside_or_is_farther_than_colours_are_carried_stays() -> None:
    mask = disc(1.0)
    mask[2] = 1  # a line of one pixel
    wide = torch.linspace(1.5, 0, SIZE).clamp(0, 1).expand(SIZE, SIZE)
    rgb = photograph(mask)
    replace_rim_colors(rgb, mask)
    assert torch.equal(rgb[2], photograph(mask)[2])
    for known, lines in ((wide, 1), (torch.zeros(SIZE, SIZE), 0), (torch.ones(SIZE, SIZE), 0)):
        rgb = photograph(known)
        replace_rim_colors(rgb, known)
        changed = (rgb != photograph(known)).any(-1).any(0)
        assert int(changed.sum()) <= lines * (REACH + 1)


def test_an_object_that_the_border_cuts_has_an_inside_there() -> None:
    mask = torch.ones(SIZE, SIZE)
    mask[:, 30:] = 0
    rgb = photograph(mask)
    rgb[0, 5] = torch.tensor([0.3, 0.2, 0.1])
    replace_rim_colors(rgb, mask)
    assert rgb[0, 5].tolist() == pytest.approx([0.3, 0.2, 0.1])


def test_only_opaque_photographs_with_mask_files_are_mixtures(tmp_path) -> None:
    folder = capture(tmp_path, w=SIZE, h=SIZE)
    mask = (255 * disc(1.0)).round().to(torch.uint8).numpy()
    pixels = (255 * photograph(disc(1.0))).round().to(torch.uint8).numpy()
    for index, alpha in enumerate((False, True)):
        picture = np.dstack([pixels, mask]) if alpha else pixels
        save(folder / "images" / f"{index}.png", picture)
        save(folder / "masks" / f"{index}.png", np.full_like(mask, 255) if alpha else mask)
    plain, transparent = read(folder).images
    # Green is a sixth of red before black.
    assert float((plain[..., 1] - plain[..., 0] / 6).max()) < 0.01 < 0.1 < float(transparent[..., 1].max())
