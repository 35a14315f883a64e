from __future__ import annotations

import torch
from support.lobe_fit import fit_table, highlights, misfits
from torch import Tensor

from diffrender.ops.ggx.formulas import LEAST_COSINE, LEAST_ROUGHNESS, look_up
from diffrender.scene.materials.highlight_lobes import N_LOBES, highlight_lobes
from diffrender.scene.materials.tabulate_albedo import COSINE_STEPS, MOST_COSINE, ROUGHNESS_STEPS


def angles(towards_mirrored: Tensor) -> Tensor:
    theta = torch.linspace(0, 1, COSINE_STEPS).square().clamp(LEAST_COSINE, MOST_COSINE).acos()[:, None]
    return torch.atan2(towards_mirrored * theta.sin(), 1 - towards_mirrored + towards_mirrored * theta.cos())


def test_the_lobes_share_all_that_is_reflected() -> None:
    lobes = highlight_lobes()
    assert lobes.scale.shape == (ROUGHNESS_STEPS, COSINE_STEPS, N_LOBES)
    for share in (lobes.scale, lobes.bias):
        assert bool((share >= 0).all())
        torch.testing.assert_close(share.sum(-1), torch.ones_like(share[..., 0]))
    assert bool(((lobes.roughness > 0.999 * LEAST_ROUGHNESS) & (lobes.roughness <= 1)).all())


def test_the_table_is_that_of_the_fit() -> None:
    """Metal and dielectric: close to the true density, closer than one lobe around the mean; similar moments.

    Smooth surfaces at grazing angles, whose density one lobe hardly overlaps, are excluded from the distance.
    """
    truth, lobes = highlights(), highlight_lobes()
    shares = torch.stack([lobes.scale, lobes.bias], -1).float()
    found = misfits(angles(lobes.towards_mirrored.float()), 2 * lobes.roughness.float().log(), shares, truth)
    roughness = torch.linspace(0, 1, ROUGHNESS_STEPS).clamp_min(LEAST_ROUGHNESS)[:, None, None]
    one_width = 2 * roughness.log().expand(-1, COSINE_STEPS, -1)
    alone = misfits(truth.middle[..., None], one_width, torch.ones(ROUGHNESS_STEPS, COSINE_STEPS, 1, 2), truth)
    distance, moments = (each.mean((1, 2)).sqrt() for each in found)
    distance_alone, moments_alone = (each.mean((1, 2)).sqrt() for each in alone)
    assert bool((distance < 0.45).all()) and bool((moments < 0.035).all())
    assert bool((distance < 0.7 * distance_alone).all()) and bool((moments < 0.4 * moments_alone).all())


def test_neighbouring_entries_can_be_interpolated() -> None:
    """Lobe axes interpolated between entries of the table are between those of the entries."""
    angle = angles(highlight_lobes().towards_mirrored)
    assert float((angle[1:, 1:] - angle[1:, :-1]).abs().max()) < 0.5
    cosine = torch.linspace(0.94, 1, 30, dtype=torch.float64)[:, None]
    for roughness in (0.2, 0.6, 0.95):
        w = look_up(highlight_lobes().towards_mirrored, torch.full_like(cosine, roughness), cosine)
        middle = torch.atan2(w * cosine.acos().sin(), 1 - w * (1 - cosine))
        assert float(middle.abs().max()) < 1.2


def test_the_fit_runs() -> None:
    table = fit_table(steps=2)
    assert table.shape == (ROUGHNESS_STEPS, COSINE_STEPS, 4 * N_LOBES)
    assert bool(table.isfinite().all())
