from __future__ import annotations

import pytest
import torch

from diffrender.errors import ConfigError
from diffrender.imaging.tone_mapping import TONE_CURVES, Display

GENERATOR = torch.Generator().manual_seed(0)


def test_clipping_is_what_a_camera_does():
    light = torch.tensor([[-0.5, 0.3, 7.0]])
    assert Display().map_tones(light).tolist() == [[0.0, pytest.approx(0.3), 1.0]]
    assert Display(exposure=1.0).map_tones(light).tolist() == [[0.0, pytest.approx(0.6), 1.0]]
    torch.testing.assert_close(Display(exposure=-3.0).map_tones(light), torch.tensor([[0.0, 0.3 / 8, 7 / 8]]))


def test_neutral_keeps_base_colours():
    """Up to 0.8, colours only lose what a dielectric reflects of white surroundings, 0.04."""
    color = torch.rand(100, 3, generator=GENERATOR) * 0.7 + 0.1
    torch.testing.assert_close(Display(tone="neutral").map_tones(color), color - 0.04)
    black = torch.tensor([[0.0, 0.0, 0.0], [0.04, 0.5, 0.1]])
    torch.testing.assert_close(Display(tone="neutral").map_tones(black), torch.tensor([[0, 0, 0], [0.01, 0.47, 0.07]]))


def test_neutral_of_highlights():
    """By hand: a peak of 0.76 + 0.24 x is shown as 1 - 0.24 / (1 + x), and grows gray with what was taken off it."""
    light = torch.tensor([[1.04, 0.28, 0.1]])  # 0.04 less: (1, 0.24, 0.06), x = 1
    new = 1 - 0.24 / 2
    gray = 1 - 1 / (0.15 * (1 - new) + 1)
    expected = torch.tensor([[1.0, 0.24, 0.06]]) * new * (1 - gray) + new * gray
    torch.testing.assert_close(Display(tone="neutral").map_tones(light), expected)
    assert Display(tone="neutral").map_tones(torch.tensor([1e6, 1e3, 0.0])).min() > 0.9


@pytest.mark.parametrize("tone", TONE_CURVES)
def test_curves_stay_in_range_and_never_turn_around(tone):
    ramp = torch.linspace(-1, 30, 4001)[:, None] * torch.tensor([1.0, 0.6, 0.2])
    shown = Display(tone=tone).map_tones(ramp)
    assert (shown >= 0).all() and (shown <= 1).all()
    assert (shown.amax(-1).diff() > -1e-6).all()
    # No jump anywhere: none larger than the light's own step.
    assert (shown.diff(dim=0).abs().amax() <= ramp.diff(dim=0).amax() * 1.001).all()
    assert Display(tone=tone).map_tones(torch.full((3,), torch.inf)).tolist() == [1.0, 1.0, 1.0]
    assert Display(tone=tone).map_tones(torch.full((3,), torch.nan)).isnan().all()


def test_coverage_stays_as_it_is():
    assert Display(2.0, "neutral").map_tones(torch.tensor([0.5, 0.5, 0.5, 0.25]))[3] == 0.25


def test_unknown_curves_are_refused():
    with pytest.raises(ConfigError, match="there is no tone 'aces'; choose from clip, neutral"):
        Display(tone="aces")


@pytest.mark.parametrize("exposure", [2000.0, -20.5, float("nan")])
def test_exposures_that_leave_nothing_to_see_are_refused(exposure):
    with pytest.raises(ConfigError, match=r"exposure must be from -20 to 20 stops, got"):
        Display(exposure)
