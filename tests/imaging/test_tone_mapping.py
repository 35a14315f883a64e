from __future__ import annotations

import pytest
import torch

from diffrender.errors import ConfigError
from diffrender.imaging.tone_mapping import TONE_CURVES, Display

GENERATOR = torch.Generator().manual_seed(0)


def test_clip_scales_by_exposure_and_clamps():
    light = torch.tensor([[-0.5, 0.3, 7.0]])
    assert Display().map_tones(light).tolist() == [[0.0, pytest.approx(0.3), 1.0]]
    assert Display(exposure=1.0).map_tones(light).tolist() == [[0.0, pytest.approx(0.6), 1.0]]
    torch.testing.assert_close(Display(exposure=-3.0).map_tones(light), torch.tensor([[0.0, 0.3 / 8, 7 / 8]]))


def test_neutral_preserves_base_colours():
    """Up to 0.8, colours only lose the 0.04 that a dielectric reflects from white surroundings."""
    color = torch.rand(100, 3, generator=GENERATOR) * 0.7 + 0.1
    torch.testing.assert_close(Display(tone="neutral").map_tones(color), color - 0.04)
    black = torch.tensor([[0.0, 0.0, 0.0], [0.04, 0.5, 0.1]])
    torch.testing.assert_close(Display(tone="neutral").map_tones(black), torch.tensor([[0, 0, 0], [0.01, 0.47, 0.07]]))


def test_neutral_compresses_highlights():
    """By hand: a peak of 0.76 + 0.24 x becomes 1 - 0.24 / (1 + x), and the colour grayer the more that lowers it."""
    light = torch.tensor([[1.04, 0.28, 0.1]])  # minus 0.04: (1, 0.24, 0.06), so x = 1
    new = 1 - 0.24 / 2
    gray = 1 - 1 / (0.15 * (1 - new) + 1)
    expected = torch.tensor([[1.0, 0.24, 0.06]]) * new * (1 - gray) + new * gray
    torch.testing.assert_close(Display(tone="neutral").map_tones(light), expected)
    assert Display(tone="neutral").map_tones(torch.tensor([1e6, 1e3, 0.0])).min() > 0.9


@pytest.mark.parametrize("tone", TONE_CURVES)
def test_curves_stay_in_range_and_never_decrease(tone):
    ramp = torch.linspace(-1, 30, 4001)[:, None] * torch.tensor([1.0, 0.6, 0.2])
    shown = Display(tone=tone).map_tones(ramp)
    assert (shown >= 0).all() and (shown <= 1).all()
    assert (shown.amax(-1).diff() > -1e-6).all()
    # No discontinuity: no step is larger than that of the light.
    assert (shown.diff(dim=0).abs().amax() <= ramp.diff(dim=0).amax() * 1.001).all()
    assert Display(tone=tone).map_tones(torch.full((3,), torch.inf)).tolist() == [1.0, 1.0, 1.0]
    assert Display(tone=tone).map_tones(torch.full((3,), torch.nan)).isnan().all()


def test_coverage_is_unchanged():
    assert Display(2.0, "neutral").map_tones(torch.tensor([0.5, 0.5, 0.5, 0.25]))[3] == 0.25


def test_unknown_curves_are_rejected():
    with pytest.raises(ConfigError, match="tone must be one of clip, neutral, got 'aces'"):
        Display(tone="aces")


@pytest.mark.parametrize("exposure", [2000.0, -20.5, float("nan")])
def test_exposures_out_of_range_are_rejected(exposure):
    with pytest.raises(ConfigError, match=r"exposure must be from -20 to 20 stops, got"):
        Display(exposure)
