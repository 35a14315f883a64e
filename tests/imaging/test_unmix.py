"""Rims of objects in opaque photographs: what shines through is replaced, the rest is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.transforms_captures import capture, read, save

from diffrender.imaging import unmix
from diffrender.imaging.unmix import replace_background

SIZE = 48
RED, GREEN, BLACK = torch.tensor([0.6, 0.1, 0.0]), torch.tensor([0.0, 0.9, 0.1]), torch.zeros(3)


def disc(softness: float = 1.0, radius: float = 14.0) -> torch.Tensor:
    """Coverage of a disc, whose edge is `softness` pixels wide."""
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    return ((radius - torch.hypot(x - 20.3, y - 25.8)) / softness + 0.5).clamp(0, 1)


def over(coverage: torch.Tensor, color: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
    return coverage[..., None] * color + (1 - coverage[..., None]) * behind


def ramp() -> torch.Tensor:
    x = torch.arange(SIZE) / SIZE
    return torch.stack([0.5 * x, 0.2 * x, 1 - x], -1).expand(SIZE, SIZE, 3)


@pytest.mark.parametrize("softness", [1.0, 2.0])
def test_where_coverage_is_known_the_objects_own_colours_are_left(softness: float) -> None:
    mask = disc(softness)
    rgb = over(mask, ramp(), GREEN)
    replace_background(rgb, mask, (0.0, 0.0, 0.0))
    torch.testing.assert_close(rgb[mask > 0.05], ramp()[mask > 0.05], atol=0.02, rtol=0)
    torch.testing.assert_close(rgb[mask == 0], GREEN.expand(int((mask == 0).sum()), 3))


def test_pictures_of_the_objects_colours_alone_stay() -> None:
    """As written from pictures with transparency: colours up to the rim, black beyond."""
    mask = disc(2.0)
    rgb = ramp().clone()
    rgb[mask == 0] = 0
    before = rgb.clone()
    replace_background(rgb, mask, (0.0, 0.0, 0.0))
    assert torch.equal(rgb, before)


def test_of_an_uneven_background_what_is_beside_the_pixel_counts() -> None:
    mask, behind = disc(), GREEN * torch.linspace(0.5, 1, SIZE)[:, None, None]
    rgb = over(mask, RED, behind)
    mixed = float((rgb - over(mask, RED, BLACK))[mask > 0.05].abs().max())
    replace_background(rgb, mask, (0.0, 0.0, 0.0))
    assert float(((rgb - RED) * mask[..., None])[mask > 0].abs().max()) < 0.03 < 0.5 * mixed


@pytest.mark.parametrize("background", [BLACK, torch.ones(3), GREEN])
def test_a_mask_without_fractions_has_the_background_in_the_place_of_what_was_behind(background: torch.Tensor) -> None:
    """Its pixels are what they would be before that background; before what was there already, what they are."""
    coverage = disc()
    mask = (coverage > 0.5).float()
    rgb = over(coverage, RED, GREEN)
    before, wanted = rgb.clone(), over(coverage, RED, background)
    replace_background(rgb, mask, background.tolist())
    torch.testing.assert_close(rgb[mask > 0], wanted[mask > 0], atol=1e-5, rtol=0)
    assert torch.equal(rgb[mask == 0], before[mask == 0])


def test_the_inside_stays_to_the_bit() -> None:
    mask = disc()
    inside = -torch.nn.functional.max_pool2d(-mask[None], 5, 1, 2)[0] == 1
    for each in (mask, (mask > 0.5).float()):
        rgb = over(mask, ramp(), GREEN)
        before = rgb.clone()
        replace_background(rgb, each, (0.2, 0.2, 0.2))
        assert torch.equal(rgb[inside], before[inside])


def test_where_no_background_is_seen_or_object_and_background_are_alike_nothing_changes() -> None:
    mask = disc()
    for each, image in (
        (torch.ones(SIZE, SIZE), ramp()), (torch.zeros(SIZE, SIZE), ramp()), (torch.full((SIZE, SIZE), 0.5), ramp()),
        ((mask > 0.5).float(), over(mask, GREEN + 0.01, GREEN)),
    ):  # fmt: skip
        rgb = image.clone()
        replace_background(rgb, each, (0.0, 0.0, 0.0))
        assert torch.equal(rgb, image)


@pytest.mark.parametrize("is_sharp", [True, False])
def test_what_is_not_known_is_neither_looked_at_nor_changed(is_sharp: bool) -> None:
    mask = disc()
    given = (mask > 0.5).float() if is_sharp else mask
    known = torch.ones(SIZE, SIZE)
    known[20:30] = 0
    results = []
    for garbage in (0.0, 1e6, torch.nan):
        rgb = over(mask, RED, GREEN).where(known[..., None] > 0, garbage)
        before = rgb.clone()
        replace_background(rgb, given, (0.0, 0.0, 0.0), known)
        torch.testing.assert_close(rgb[20:30], before[20:30], rtol=0, atol=0, equal_nan=True)
        results.append(rgb[known > 0])
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert not torch.equal(results[0], over(mask, RED, GREEN)[known > 0])


def test_a_mask_that_is_soft_beyond_the_outline_makes_no_colours_that_are_not_there() -> None:
    sharp, soft = disc(), disc(5.0)
    rgb = over(sharp, RED, BLACK)
    replace_background(rgb, soft, (0.0, 0.0, 0.0))
    assert float((rgb - RED).max()) < 0.05


def test_an_object_of_many_colours_keeps_them_where_its_mask_has_no_fractions() -> None:
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    checked = ((y // 3 + x // 3) % 2).float()[..., None].expand(SIZE, SIZE, 3)
    mask = (disc() > 0.5).float()
    rgb = over(disc(), checked, torch.ones(3))
    before = rgb.clone()
    replace_background(rgb, mask, (0.0, 0.0, 0.0))
    whole = disc() == 1
    assert float(((rgb - before)[whole].abs().amax(-1) > 0).float().mean()) < 0.02


def test_a_mask_that_is_nowhere_white_takes_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only pixels near the background are visited."""
    visited = []
    seen_beside = unmix._seen_beside
    monkeypatch.setattr(unmix, "_seen_beside", lambda *given: visited.append(len(given[2])) or seen_beside(*given))
    mask = 0.99 * disc(radius=20.0)
    replace_background(over(mask, RED, GREEN), mask, (0.0, 0.0, 0.0))
    assert visited and max(visited) < 0.6 * int((mask > 0).sum())


def test_a_mask_that_is_too_wide_is_no_reason_to_change_the_background() -> None:
    rgb = over(disc(), RED, GREEN)
    before = rgb.clone()
    replace_background(rgb, (disc(radius=17.0) > 0.5).float(), (0.0, 0.0, 0.0))
    beyond = disc(radius=15.0) == 0
    assert torch.equal(rgb[beyond], before[beyond])


def test_an_object_that_the_border_cuts_has_no_rim_there() -> None:
    mask = torch.ones(SIZE, SIZE)
    mask[:, 30:] = 0
    rgb = over(mask, ramp(), GREEN)
    before = rgb.clone()
    replace_background(rgb, mask, (0.0, 0.0, 0.0))
    assert torch.equal(rgb[:, :28], before[:, :28])


def test_only_opaque_photographs_with_mask_files_are_mixtures(tmp_path: Path) -> None:
    folder = capture(tmp_path, w=SIZE, h=SIZE)
    mask = (255 * disc()).round().to(torch.uint8).numpy()
    pixels = (255 * over(disc(), RED, GREEN)).round().to(torch.uint8).numpy()
    for index, alpha in enumerate((False, True)):
        save(folder / "images" / f"{index}.png", np.dstack([pixels, mask]) if alpha else pixels)
        save(folder / "masks" / f"{index}.png", np.full_like(mask, 255) if alpha else mask)
    plain, transparent = read(folder).images
    assert float(plain[..., 1].max()) < 0.05 < 0.1 < float(transparent[..., 1].max())
    # Without masks, nothing is known of mixtures.
    shutil.rmtree(folder / "masks")
    assert float(read(folder, use_masks=False).images[0, ..., 1].max()) > 0.7
