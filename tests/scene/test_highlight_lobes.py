from __future__ import annotations

import pytest
import torch
from support.lobe_fit import fit_table, highlights, misfits
from torch import Tensor

from diffrender.ops.ggx.formulas import LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.scene.materials.highlight_lobes import N_LOBES, HighlightLobes, lobe_table, lobes_of_highlight
from diffrender.scene.materials.tabulate_albedo import COSINE_STEPS, MOST_COSINE, ROUGHNESS_STEPS


def tabulated() -> HighlightLobes:
    return HighlightLobes(*lobe_table().unflatten(-1, (4, N_LOBES)).unbind(-2))


def angles(towards_mirrored: Tensor) -> Tensor:
    theta = torch.linspace(0, 1, COSINE_STEPS).square().clamp(LEAST_COSINE, MOST_COSINE).acos()[:, None]
    return torch.atan2(towards_mirrored * theta.sin(), 1 - towards_mirrored + towards_mirrored * theta.cos())


def test_the_lobes_share_all_that_is_reflected() -> None:
    lobes = tabulated()
    assert lobes.scale.shape == (ROUGHNESS_STEPS, COSINE_STEPS, N_LOBES)
    for share in (lobes.scale, lobes.bias):
        assert bool((share >= 0).all())
        torch.testing.assert_close(share.sum(-1), torch.ones_like(share[..., 0]))
    assert bool(((lobes.roughness > 0.999 * LEAST_ROUGHNESS) & (lobes.roughness <= 1)).all())


def test_the_table_is_that_of_the_fit() -> None:
    """Metal and dielectric: close to the true density, closer than one lobe around the mean; similar moments.

    Smooth surfaces at grazing angles, whose density one lobe hardly overlaps, are excluded from the distance.
    """
    truth, lobes = highlights(), tabulated()
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
    angle = angles(tabulated().towards_mirrored)
    assert float((angle[1:, 1:] - angle[1:, :-1]).abs().max()) < 0.5
    cosine = torch.linspace(0.94, 1, 30, dtype=torch.float64)[:, None]
    for roughness in (0.2, 0.6, 0.95):
        lobes = lobes_of_highlight(torch.full_like(cosine, roughness), cosine)
        theta = cosine.acos()
        middle = torch.atan2(lobes.towards_mirrored * theta.sin(), 1 - lobes.towards_mirrored * (1 - cosine))
        assert float(middle.abs().max()) < 1.2


def test_the_fit_runs() -> None:
    table = fit_table(steps=2)
    assert table.shape == (ROUGHNESS_STEPS, COSINE_STEPS, 4 * N_LOBES)
    assert bool(table.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lobes_are_differentiable_in_roughness_and_view(dtype: torch.dtype) -> None:
    roughness = torch.tensor([[0.13], [0.4], [0.77]], dtype=dtype, requires_grad=True)
    cosine = torch.tensor([[0.9], [0.31], [0.6]], dtype=dtype, requires_grad=True)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(lambda *where: tuple(lobes_of_highlight(*where)), (roughness, cosine))
    total = sum((part * part).sum() for part in lobes_of_highlight(roughness, cosine))
    for gradient in torch.autograd.grad(total, (roughness, cosine)):
        assert bool((gradient != 0).all())
