from __future__ import annotations

import pytest
import torch

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.optimizer.adam import AdamSettings, AdamState, adam_step
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations.coarse_to_fine import CoarseToFine, most_levels
from diffrender.fit.parametrizations.direction import Direction
from diffrender.fit.parametrizations.identity import Identity
from diffrender.fit.parametrizations.positive import Positive
from diffrender.fit.parametrizations.unit_interval import UnitInterval

FLOAT64 = {"dtype": torch.float64}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), **FLOAT64)


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        (Identity(), 5 * random(8, 24, 2) - 2),
        (Positive(), random(8, 24, 3) + 0.01),
        (UnitInterval(), 0.9 * random(8, 24, 1) + 0.05),
        (Direction(), torch.nn.functional.normalize(random(8, 24, 3) - 0.5, dim=2)),
    ],
)
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("closed", [False, True])
def test_images_round_trip_and_have_a_gradient(
    inner: Parametrization, value: torch.Tensor, levels: int, closed: bool
) -> None:
    image = CoarseToFine(inner, 8, 24, levels, closed)
    latent = image.latent_of(value)
    torch.testing.assert_close(image.value_of(latent), value, rtol=1e-9, atol=1e-9)
    moved = (latent + 0.1 * random(*latent.shape, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(image.value_of, moved, fast_mode=True)


def test_coarse_images_are_enlarged_as_textures_are() -> None:
    """Bilinear interpolation between texel centres, with clamped borders."""
    image = CoarseToFine(Identity(), 12, 8, 2)
    latent = random(12 * 8 + 6 * 4 + 3 * 2, 3)
    finest, middle, coarsest = (
        part.reshape(1, 12 >> level, 8 >> level, 3).permute(0, 3, 1, 2)
        for level, part in enumerate(latent.split([96, 24, 6]))
    )

    def enlarged(coarse: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)

    wanted = finest + enlarged(0.5 * middle + enlarged(0.5 * coarsest))
    torch.testing.assert_close(image.value_of(latent), wanted[0].permute(1, 2, 0))


def test_a_closed_image_has_no_border_at_its_sides() -> None:
    """Rolled by two texels, one texel of the coarser image, the latent gives the same image rolled."""
    image = CoarseToFine(Identity(), 4, 8, 1, closed=True)
    fine, coarse = random(4, 8, 1), random(2, 4, 1)

    def value(turn: int) -> torch.Tensor:
        return image.value_of(torch.cat([fine.roll(2 * turn, 1).flatten(0, 1), coarse.roll(turn, 1).flatten(0, 1)]))

    torch.testing.assert_close(value(1), value(0).roll(2, 1), rtol=0, atol=0)


def test_what_a_region_has_in_common_is_found_sooner_and_noise_later() -> None:
    """30 Adam steps on noisy gradients of a smooth image: less than half the error of texels alone."""
    ramp = torch.linspace(0.2, 0.8, 32)[:, None, None].expand(32, 32, 1)
    errors = []
    for method in (UnitInterval(), CoarseToFine(UnitInterval(), 32, 32, 2)):
        generator = torch.Generator().manual_seed(0)
        latent = method.latent_of(torch.full((32, 32, 1), 0.9)).requires_grad_()
        moments = AdamState.fresh("adam", latent)
        for _ in range(30):
            noise = torch.randn(32, 32, 1, generator=generator)
            loss = (method.value_of(latent) - ramp + 0.3 * noise).square().mean()
            (gradient,) = torch.autograd.grad(loss, latent)
            adam_step(latent, gradient, moments, AdamSettings("adam", 0.05, (0.9, 0.999)))
        errors.append(float((method.value_of(latent) - ramp).detach().abs().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_how_often_an_image_can_be_halved() -> None:
    assert most_levels(256, 256, 8) == 5
    assert most_levels(32, 64, 8) == 2
    assert most_levels(12, 64, 1) == 2
    assert most_levels(7, 64, 1) == most_levels(14, 14, 8) == 0


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"levels must be in 1\.\.2, as often as an image of 12 x 8 can be halved, got 3"
    ):
        CoarseToFine(Identity(), 12, 8, 3)
    with pytest.raises(ConfigError, match="got 0"):
        CoarseToFine(Identity(), 12, 8, 0)
    with pytest.raises(ShapeError, match=r"images \[12, 8, C\], got \[8, 12, 3\]"):
        CoarseToFine(Identity(), 12, 8, 2).latent_of(torch.zeros(8, 12, 3))
