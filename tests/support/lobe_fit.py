"""Fit of `lobe_table.npy`: rotationally symmetric lobes fitted to the highlights of GGX by gradient descent.

For each roughness and cosine of the tables, and for a metal (f0 = 1) and a dielectric (0.04), the fit minimises three
things: the squared distance from the true density of directions, relative to its square; the difference of first and
second moments, which is visible under smooth environments; and steps from one entry of the table to the next.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.ops.ggx.formulas import (
    DIELECTRIC_F0,
    LEAST_COSINE,
    LEAST_ROUGHNESS,
    distribution,
    schlick,
    visibility,
)
from diffrender.scene.materials.highlight_lobes import N_LOBES
from diffrender.scene.materials.tabulate_albedo import COSINE_STEPS, MOST_COSINE, ROUGHNESS_STEPS

F0 = (DIELECTRIC_F0, 1.0)
# Numbers of half vectors (over the polar angle, over half of the circle) to compare densities at and to integrate
# moments with; number of directions below the surface, where the density is 0.
COMPARED, INTEGRATED, BELOW = (36, 18), (96, 48), 200
MOMENTS_WEIGHT, STEPS_WEIGHT = 20.0, 0.02
# If lobes hardly overlap the highlight, the distance is uninformative; it is clamped to this.
MOST_MISFIT = 4.0
# Maximum offset of a lobe's angle, in widths of the half vectors' distribution (alpha).
MOST_OFFSET = 3.0
# Range of the angles: slightly beyond the normal, and not below the surface.
ANGLE_RANGE = (-0.5, 0.5 * math.pi)
STEPS, RATE, LAST_RATE = 300, 0.03, 0.001
# Sizes of the table of lobes' norms and moments: widths in log alpha, and angles of the quadrature.
WIDTHS, ANGLES = 160, 4000


class Highlights(NamedTuple):
    """The reference, for F values of f0, R roughnesses, C cosines and Q directions.

    directions: [R, C, Q, 3] along the plane of the camera (away from it), across, along the normal.
    spacing: [R, C, Q] solid angle of each. density: [F, R, C, Q] in 1/sr, of integral 1.
    first: [F, R, C, 2] mean along the plane and the normal. second: [F, R, C, 4] means of xx, zz, xz, yy (less 1/3).
    shares: [F, R, C, 2] fractions of scale (straight), bias (grazing). middle: [R, C] angle of metal's mean direction.
    """

    directions: Tensor
    spacing: Tensor
    density: Tensor
    first: Tensor
    second: Tensor
    shares: Tensor
    middle: Tensor


class LobeLatents(NamedTuple):
    """Latents of the table.

    offset: [R, C, K] of the angles. width: [R, C, K] log alpha. share: [R, C, K, 2] logits, of scale and bias.
    """

    offset: Tensor
    width: Tensor
    share: Tensor


def fit_table(steps: int = STEPS) -> Tensor:
    """Fit the table, [R, C, 4 K]; takes about a minute."""
    truth = highlights()
    roughness = _roughness()[:, None, None]
    like = torch.zeros(ROUGHNESS_STEPS, COSINE_STEPS, 1)
    lobes = LobeLatents(
        like + torch.linspace(-0.8, 0.5, N_LOBES),
        like + 2 * roughness.log() + torch.linspace(0.2, -0.4, N_LOBES),
        torch.zeros(ROUGHNESS_STEPS, COSINE_STEPS, N_LOBES, 2),
    )
    for latent in lobes:
        latent.requires_grad_()
    adam = torch.optim.Adam(list(lobes), lr=RATE)
    for step in range(steps):
        adam.param_groups[0]["lr"] = RATE * (1 - step / steps) + LAST_RATE
        adam.zero_grad()
        cost(lobes, truth).backward()
        adam.step()
    with torch.no_grad():
        angle = _angles(lobes, truth)
        theta = _cosines().acos()[:, None]
        # w, such that (1 - w) n + w m is at this angle from n.
        along_mirrored = angle.sin() / theta.sin()
        towards = along_mirrored / (angle.cos() - theta.cos() * along_mirrored + along_mirrored)
        share = lobes.share.softmax(2)
        return torch.cat([towards, _log_alpha(lobes).mul(0.5).exp(), share[..., 0], share[..., 1]], -1)


def cost(lobes: LobeLatents, truth: Highlights) -> Tensor:
    """Return the cost [] that the fit minimises."""
    rows = lobes.width - 2 * _roughness()[:, None, None].log()
    steps = sum(
        weight * ((values[1:] - values[:-1]).square().mean() + (values[:, 1:] - values[:, :-1]).square().mean())
        for values, weight in ((lobes.offset, 1.0), (rows, 1.0), (lobes.share, 0.1))
    )
    distance, moments = misfits(_angles(lobes, truth), _log_alpha(lobes), lobes.share.softmax(2), truth)
    return distance.clamp_max(MOST_MISFIT).mean() + MOMENTS_WEIGHT * moments.mean() + STEPS_WEIGHT * steps


def misfits(angle: Tensor, log_alpha: Tensor, share: Tensor, truth: Highlights) -> tuple[Tensor, Tensor]:
    """Return the squared relative distance of densities and the squared distance of moments, [F, R, C] each.

    angle, log_alpha: [R, C, K]. share: [R, C, K, 2], summing to 1 over K.
    """
    weight = torch.einsum("frcs,rcks->frck", truth.shares, share)
    norm, first, second = _of_widths(log_alpha)
    sine, cosine = angle.sin(), angle.cos()
    middle = torch.stack([sine, torch.zeros_like(sine), cosine], -1)
    density = torch.zeros_like(truth.density)
    for k in range(angle.shape[2]):
        towards = (truth.directions * middle[:, :, k, None]).sum(-1)
        lobe = _lobe(towards, log_alpha[..., k, None].exp()) / norm[..., k, None]
        density = density + weight[..., k, None] * lobe
    distance = (truth.spacing * (density - truth.density).square()).sum(-1)
    distance = distance / (truth.spacing * truth.density.square()).sum(-1)
    mean = torch.stack([(weight * first * axis).sum(-1) for axis in (sine, cosine)], -1)
    squares = (sine * sine - 1 / 3, cosine * cosine - 1 / 3, sine * cosine, torch.full_like(sine, -1 / 3))
    spread = torch.stack([(weight * second * square).sum(-1) for square in squares], -1)
    return distance, (mean - truth.first).square().sum(-1) + (spread - truth.second).square().sum(-1)


def highlights() -> Highlights:
    """Compute the reference for all entries of the tables."""
    below = _below_surface()
    rows = []
    for roughness in _roughness().tolist():
        direction, parts, density = _sample(roughness, *COMPARED)
        total = parts.mean(1)
        spacing = torch.where(density > 0, 1 / (density * parts.shape[1]), 0)
        exact, exact_parts, _ = _sample(roughness, *INTEGRATED)
        x, y, z = exact.unbind(-1)
        moments = torch.stack([x, z, x * x - 1 / 3, z * z - 1 / 3, x * z, y * y - 1 / 3], -1)
        means = torch.einsum("cqm,cqs->csm", moments, exact_parts) / exact_parts.sum(1)[..., None]
        f0 = torch.tensor(F0, dtype=parts.dtype)[:, None]
        shares = torch.stack([f0 * total[:, 0], total[:, 1].expand(len(F0), -1)], -1)
        shares = shares / shares.sum(-1, keepdim=True)
        true = torch.einsum("fcs,cqs->fcq", shares, parts * density[..., None] / total[:, None])
        mean = torch.einsum("fcs,csm->fcm", shares, means)
        rows.append((
            torch.cat([direction, below.expand(COSINE_STEPS, BELOW, 3)], 1),
            torch.nn.functional.pad(spacing, (0, BELOW), value=2 * math.pi / BELOW),
            torch.nn.functional.pad(true, (0, BELOW)),
            mean[..., :2], mean[..., 2:], shares,
        ))  # fmt: skip
    directions, spacing, density, first, second, shares = zip(*rows, strict=True)
    metal = torch.stack(first)[:, 1]
    return Highlights(
        torch.stack(directions).float(),
        torch.stack(spacing).float(),
        torch.stack(density, 1).float(),
        torch.stack(first, 1).float(),
        torch.stack(second, 1).float(),
        torch.stack(shares, 1).float(),
        torch.atan2(metal[..., 0], metal[..., 1]).float(),
    )


def _sample(roughness: float, n_polar: int, n_around: int) -> tuple[Tensor, Tensor, Tensor]:
    """[C, Q, 3] directions for half vectors drawn as D n.h is, [C, Q, 2] what they represent, [C, Q] their density.

    What they represent: the straight and the grazing part, 4 V n.l v.h / n.h times 1 - F and F.
    """
    alpha = torch.tensor(roughness**2, dtype=torch.float64)
    uniform = (torch.arange(n_polar, dtype=torch.float64)[:, None] + 0.5) / n_polar
    around = math.pi * (torch.arange(n_around, dtype=torch.float64) + 0.5) / n_around
    camera = _cosines().double()[:, None, None]
    half = ((1 - uniform) / (1 + (alpha**2 - 1) * uniform)).sqrt()
    x, y = ((1 - half**2).sqrt() * wave for wave in (around.cos(), around.sin()))
    camera_half = (1 - camera**2).sqrt() * x + camera * half
    light = 2 * camera_half * half - camera
    along = (1 - camera**2).sqrt() - 2 * camera_half * x
    is_above = (light > 0) & (camera_half > 0)
    share = 4 * visibility(alpha, light.clamp_min(0), camera) * light * camera_half / half
    grazing = schlick(camera_half.clamp_min(0))
    density = distribution(alpha, 1 - half**2) * half / (4 * camera_half.clamp_min(1e-6))
    parts = torch.stack([share * (1 - grazing), share * grazing], -1).where(is_above[..., None], 0)
    directions = torch.stack([along, 2 * camera_half * y, light], -1)
    return directions.flatten(1, 2), parts.flatten(1, 2), density.where(is_above, 0).flatten(1)


def _below_surface() -> Tensor:
    """Return evenly distributed directions of the lower hemisphere, [BELOW, 3]."""
    index = torch.arange(BELOW, dtype=torch.float64) + 0.5
    z, turn = -index / BELOW, index * math.pi * (1 + math.sqrt(5))
    across = (1 - z * z).sqrt()
    return torch.stack([across * turn.cos(), across * turn.sin(), z], 1)


def _roughness() -> Tensor:
    return torch.linspace(0, 1, ROUGHNESS_STEPS).clamp_min(LEAST_ROUGHNESS)


def _cosines() -> Tensor:
    return torch.linspace(0, 1, COSINE_STEPS).square().clamp(LEAST_COSINE, MOST_COSINE)


def _angles(lobes: LobeLatents, truth: Highlights) -> Tensor:
    """Return angles [R, C, K] from the normal towards the mirror direction; offsets vanish at normal incidence.

    The last column, where the plane is undefined, is extrapolated from the one before, to permit interpolation.
    """
    sine = (1 - _cosines().square()).sqrt()[:, None]
    offset = _roughness().square()[:, None, None] * sine * MOST_OFFSET * lobes.offset.tanh()
    angle = (truth.middle[..., None] + offset).clamp(*ANGLE_RANGE)
    return torch.cat([angle[:, :-1], angle[:, -2:-1] * (sine[-1] / sine[-2])], 1)


def _log_alpha(lobes: LobeLatents) -> Tensor:
    return lobes.width.clamp(2 * math.log(LEAST_ROUGHNESS), 0)


def _lobe(cosine: Tensor, alpha: Tensor) -> Tensor:
    """`prefilter_lobes.highlight_kernel`, of one width per alpha."""
    above = cosine.clamp_min(0)
    return (
        distribution(alpha, ((1 - cosine) / 2).clamp(0, 1)) * visibility(alpha, above, torch.ones_like(above)) * above
    )


def _of_widths(log_alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return lobes' integrals and means of the first and second Legendre polynomials, interpolated in a table."""
    grid = torch.linspace(2 * math.log(LEAST_ROUGHNESS), 0, WIDTHS)
    # Denser towards the axis, because lobes of smooth surfaces are narrow.
    steps = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) / ANGLES
    angle = math.pi / 2 * steps**3
    cosine, band = angle.cos(), angle.sin() * 2 * math.pi * (3 * math.pi / 2 * steps**2 / ANGLES)
    lobe = _lobe(cosine, grid.double().exp()[:, None]) * band
    norm = lobe.sum(1)
    table = torch.stack(
        [norm, (lobe * cosine).sum(1) / norm, (lobe * (1.5 * cosine**2 - 0.5)).sum(1) / norm], 1
    ).float()
    position = (log_alpha - grid[0]) / (grid[1] - grid[0])
    row = position.detach().floor().clamp(0, WIDTHS - 2)
    first, second = table[row.long()], table[row.long() + 1]
    found = first + (position - row)[..., None] * (second - first)
    return found[..., 0], found[..., 1], found[..., 2]
