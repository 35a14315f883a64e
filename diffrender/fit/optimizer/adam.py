"""Adam and two variants that preserve the direction of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam

# Losses average over pixels, so the gradient of a texel may be as small as 1e-7; Adam's usual 1e-8 would damp it.
EPSILON = 1e-12


class AdamVariant(NamedTuple):
    """Which numbers of a latent share a second moment; by default each has its own.

    by_row: the numbers of a row share the sum of their squares. by_largest: all numbers share the largest square.
    """

    by_row: bool = False
    by_largest: bool = False


ADAM_VARIANTS: dict[str, AdamVariant] = {
    # Each number has its own second moment (Kingma & Ba, 2015).
    "adam": AdamVariant(),
    # Rotation equivariant: a rotated problem takes the rotated steps (Ling et al., "VectorAdam", 2022).
    "vector_adam": AdamVariant(by_row=True),
    # Nicolet et al., 2021, section 4.2.
    "adam_uniform": AdamVariant(by_largest=True),
}


@dataclass
class AdamState:
    """The moments of the gradients of one latent, for one of ADAM_VARIANTS.

    count: [] float32, number of gradients so far.
    mean: running mean of the gradients, shaped as the latent.
    square: running mean of their squares, shaped as the latent; its last axis is 1 for the rows of a variant by_row.
    """

    count: Tensor
    mean: Tensor
    square: Tensor

    @staticmethod
    def fresh(name: str, latent: Tensor) -> AdamState:
        """Return the moments before the first step of the variant `name`."""
        square = latent[..., :1] if ADAM_VARIANTS[name].by_row and latent.dim() > 1 else latent
        count = torch.zeros((), dtype=torch.float32, device=latent.device)
        return AdamState(count, torch.zeros_like(latent.detach()), torch.zeros_like(square.detach()))

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return mean / sqrt(square) and sqrt(square), both [V, ...], which can be interpolated between rows.

        The moments themselves cannot: for a vertex that slides slightly beyond its neighbours, extrapolation may give a
        square near zero with a mean that is not, and so a step of any length.
        """
        root = self.square.sqrt()
        return self.mean / (root + EPSILON), root

    def with_rows(self, speed: Tensor, root: Tensor) -> AdamState:
        """Return the moments with these rows, as returned by `rows`, and the same count."""
        root = root.clamp_min(0)
        return AdamState(self.count, speed * root, root.square())


@dataclass(frozen=True)
class AdamSettings:
    """The settings of one step of one latent.

    name: in ADAM_VARIANTS.
    lr: the length of a step along a constant gradient.
    betas: decay of the running means of gradients and of their squares.
    factor: multiplies the step, any shape that broadcasts to the latent, or None.
    """

    name: str
    lr: float
    betas: tuple[float, float]
    factor: Tensor | None = None


@torch.no_grad()
def adam_step(latent: Tensor, gradient: Tensor, moments: AdamState, settings: AdamSettings) -> None:
    """Update `latent` and `moments` by one Adam step, both in place."""
    beta_mean, beta_square = settings.betas
    variant = ADAM_VARIANTS[settings.name]
    if variant == AdamVariant() and settings.factor is None:
        # The same numbers, fused into one pass: textures are large.
        adam(
            [latent], [gradient], [moments.mean], [moments.square], [], [moments.count],
            fused=True, amsgrad=False, beta1=beta_mean, beta2=beta_square, lr=settings.lr,
            weight_decay=0.0, eps=EPSILON, maximize=False,
        )  # fmt: skip
        return
    squared = gradient.square()
    if moments.square.shape != squared.shape:
        squared = squared.sum(-1, keepdim=True)
    moments.count += 1
    moments.mean.lerp_(gradient, 1 - beta_mean)
    moments.square.lerp_(squared, 1 - beta_square)
    # Bias correction: both running means start at zero.
    count = float(moments.count)
    mean = moments.mean / (1 - beta_mean**count)
    square = (moments.square.amax() if variant.by_largest else moments.square) / (1 - beta_square**count)
    step = mean.div_(square.sqrt_().add_(EPSILON)).mul_(settings.lr)
    latent.sub_(step if settings.factor is None else step * settings.factor)
