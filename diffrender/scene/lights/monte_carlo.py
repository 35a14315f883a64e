"""Monte Carlo environment light: the reference that prefiltered environments approximate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from diffrender.derivatives import constant, on_plain_tensors, without_derivatives
from diffrender.errors import ShapeError
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS, distribution
from diffrender.ops.lat_long_uv import lat_long_uv
from diffrender.scene.environment.sphere_directions import map_directions
from diffrender.scene.light import EnvironmentLight, Light, LightSamples
from diffrender.scene.light_frames import directions_to_world
from diffrender.scene.lights.environment import Environment
from diffrender.scene.material import Material
from diffrender.scene.shading_points import ShadingPoints

FEWEST_SAMPLES = 3
# Directions per chunk: about ten arrays of three floats each then stay close to the caches.
CHUNK = 2**19
# The plastic number: multiples of its inverse and its inverse square fill a square evenly (Roberts, The unreasonable
# effectiveness of quasirandom sequences, 2018).
PLASTIC = 1.32471795724474602596


@dataclass(frozen=True)
class MonteCarloEnvironment(EnvironmentLight):
    """An environment evaluated by Monte Carlo with `samples` directions per point.

    A third of the directions is drawn in proportion to the map's radiance, a third in proportion to the cosine to the
    normal, a third from the material's specular lobes; all are combined by multiple importance sampling, so that the
    estimate is unbiased for every material and map (the balance heuristic of Veach & Guibas, Optimally Combining
    Sampling Techniques for Monte Carlo Rendering, 1995). As for all environment lights, there is no occlusion. Without
    gradients; each image draws the same random numbers.

    environment: the light. samples: directions per point, at least 3; otherwise raises ShapeError.
    """

    environment: Environment
    samples: int

    def __post_init__(self) -> None:
        if self.samples < FEWEST_SAMPLES:
            raise ShapeError(f"MonteCarloEnvironment: samples must be at least {FEWEST_SAMPLES}, got {self.samples}")

    def prepared(self) -> MonteCarloEnvironment:
        """Return the light itself: what it needs of its map is computed on first use and cached."""
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return one sample per texel."""
        return self.environment.sample(surface)

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """Return the environment's prefiltered mean."""
        return self.environment.mean_radiance(surface, normal_w)

    def lobe_radiance(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """Return the environment's prefiltered means."""
        return self.environment.lobe_radiance(surface, direction_w, roughness)

    @without_derivatives()
    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return the [M, 3] linear radiance reflected towards the camera, with the noise of `samples` directions."""
        if len(surface) == 0:
            return surface.vertices_w.new_zeros(0, 3)
        generator = torch.Generator().manual_seed(0)
        step = max(1, CHUNK // self.samples)
        parts = [surface.select(slice(start, start + step)) for start in range(0, len(surface), step)]
        return torch.cat([self._estimate(part, material, generator) for part in parts])

    def _estimate(self, surface: ShadingPoints, material: Material, generator: torch.Generator) -> Tensor:
        normal_w, _, glossy = material.lobes(surface)
        axes = () if glossy is None else glossy.direction_w.unbind(1)
        alphas = () if glossy is None else (glossy.roughness.clamp_min(LEAST_ROUGHNESS) ** 2).split(1, 1)
        n_cosine = self.samples // 3
        n_glossy = [(n_cosine + k) // len(axes) for k in range(len(axes))]
        n_light = self.samples - n_cosine - sum(n_glossy)
        world_from_map = self._world_from_map(surface)
        like = surface.vertices_w
        drawn = [self._sampled_light.directions(_uniforms(len(surface), n_light, generator, like)) @ world_from_map]
        drawn.append(_directions_around(normal_w, *_sample_cosine(_uniforms(len(surface), n_cosine, generator, like))))
        for axis_w, alpha, count in zip(axes, alphas, n_glossy, strict=True):
            angles = _sample_highlight(alpha, _uniforms(len(surface), count, generator, like))
            drawn.append(_directions_around(axis_w, *angles))
        to_light_w = torch.cat(drawn, 1)
        in_map = (to_light_w @ world_from_map.transpose(1, 2)).reshape(-1, 3)
        density = n_light * self._sampled_light.density(in_map, surface.backend).reshape(to_light_w.shape[:2])
        density = density + n_cosine * (to_light_w * normal_w[:, None]).sum(-1).clamp_min(0) / math.pi
        for axis_w, alpha, count in zip(axes, alphas, n_glossy, strict=True):
            density = density + count * _highlight_density(axis_w, alpha, to_light_w)
        copies = self.environment.radiance.prefiltered()
        arriving = copies.lobe(in_map, in_map.new_zeros(1, 1), surface.backend).reshape(to_light_w.shape)
        # A direction of density zero is never drawn.
        weight = torch.where(density > 0, 1 / density, 0)
        return (material.evaluate(surface, to_light_w) * arriving * weight[..., None]).sum(1)

    def _world_from_map(self, surface: ShadingPoints) -> Tensor:
        """Return [M or 1, 3, 3]: row j is axis j of the map in the world."""
        axes = axis_angle_to_matrix(self.environment.rotation).T
        return directions_to_world(surface, self.environment.frame, axes)

    @cached_property
    def _sampled_light(self) -> _SampledLight:
        with on_plain_tensors():
            return _SampledLight.of_map(constant(self.environment.radiance.texels))


@dataclass(frozen=True)
class _SampledLight:
    """Sampler of directions of a lat-long map in proportion to its radiance.

    cumulative: [H W] float64 cumulative probability, up to 1. per_solid_angle: [H W] density in 1/sr. height: H.
    """

    cumulative: Tensor
    per_solid_angle: Tensor
    height: int

    @classmethod
    def of_map(cls, texels: Tensor) -> _SampledLight:
        height, width = texels.shape[:2]
        _, solid_angle = map_directions(height, width, texels)
        # Bilinear look-ups spread the radiance of a texel half a texel into each neighbour.
        bright = texels.detach().amax(2)
        bright = torch.cat([bright[:, -1:], bright, bright[:, :1]], 1)[None, None]
        reached = torch.nn.functional.avg_pool2d(bright, 3, 1, (1, 0), count_include_pad=False)[0, 0]
        power = (reached.reshape(-1) * solid_angle).double()
        share = power / power.sum() if bool(power.sum() > 0) else torch.full_like(power, 1 / len(power))
        return cls(share.cumsum(0), (share / solid_angle).to(texels.dtype), height)

    def directions(self, uniforms: Tensor) -> Tensor:
        """Return [M, S, 3] unit directions of the map, from uniform numbers [M, S, 2] in 0..1."""
        first, second = uniforms.double().unbind(-1)
        quantile = first.contiguous() * self.cumulative[-1]
        texel = torch.searchsorted(self.cumulative, quantile, right=True).clamp_max(len(self.cumulative) - 1)
        end = self.cumulative[texel]
        share = (end - torch.where(texel > 0, self.cumulative[texel - 1], 0)).clamp_min(1e-300)
        across = ((end - quantile) / share).clamp(0, 1)
        row, column = texel // (2 * self.height), texel % (2 * self.height)
        longitude = math.pi * ((column + across) / self.height - 1)
        # Uniform in solid angle: linear between the cosines of the row's borders.
        above, below = (math.pi * row / self.height).cos(), (math.pi * (row + 1) / self.height).cos()
        y = above + second * (below - above)
        radius = (1 - y * y).clamp_min(0).sqrt()
        return torch.stack([radius * longitude.cos(), y, radius * longitude.sin()], -1).to(uniforms.dtype)

    def density(self, directions: Tensor, backend: str | None) -> Tensor:
        """Return the [M] density in 1/sr at unit directions [M, 3] of the map."""
        u, v = lat_long_uv(directions, backend=backend).unbind(1)
        row = (v * self.height).long().clamp(0, self.height - 1)
        column = (u * 2 * self.height).long().clamp(0, 2 * self.height - 1)
        return self.per_solid_angle[row * 2 * self.height + column]


def _uniforms(n_points: int, count: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Draw [M, count, 2] numbers in 0..1: the same low-discrepancy pattern for each point, shifted at random."""
    steps = torch.tensor([1 / PLASTIC, 1 / PLASTIC**2], dtype=torch.float64, device="cpu")
    pattern = torch.arange(count, dtype=torch.float64, device="cpu")[:, None] * steps
    shift = torch.rand(n_points, 1, 2, generator=generator, device="cpu")
    return ((pattern.float() + shift) % 1).to(like.device, like.dtype)


def _sample_cosine(uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines to the axis and angles around it, [M, S] each, distributed as the clamped cosine."""
    return (1 - uniforms[..., 0]).sqrt(), 2 * math.pi * uniforms[..., 1]


def _sample_highlight(alpha: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines to the axis and angles around it, [M, S] each, with half vectors distributed as D n.h.

    alpha: [M or 1, 1], as below.
    """
    squared = alpha**2
    cos_half_squared = (1 - uniforms[..., 0]) / (1 + (squared - 1) * uniforms[..., 0])
    return 2 * cos_half_squared - 1, 2 * math.pi * uniforms[..., 1]


def _highlight_density(axis_w: Tensor, alpha: Tensor, to_light_w: Tensor) -> Tensor:
    """Return the [M, S] density in 1/sr of `_sample_highlight` around an axis: D n.h / (4 v.h), where v = n."""
    cosine = (to_light_w * axis_w[:, None]).sum(-1)
    return distribution(alpha, ((1 - cosine) / 2).clamp(0, 1)) / 4


def _directions_around(axis_w: Tensor, cosine: Tensor, angle: Tensor) -> Tensor:
    """Return [M, S, 3] unit directions at cosines [M, S] to unit `axis_w` [M, 3] and angles [M, S] around it."""
    # The coordinate axis with the smallest component is never parallel to it.
    other = torch.nn.functional.one_hot(axis_w.abs().argmin(1), 3).to(axis_w.dtype)
    first = torch.nn.functional.normalize(torch.linalg.cross(axis_w, other), dim=1)
    second = torch.linalg.cross(axis_w, first)
    sine = (1 - cosine * cosine).clamp_min(0).sqrt()
    x, y = (sine * angle.cos())[..., None], (sine * angle.sin())[..., None]
    return x * first[:, None] + y * second[:, None] + cosine[..., None] * axis_w[:, None]


def with_monte_carlo(light: Light, samples: int) -> Light:
    """Return `light`, an environment as its Monte Carlo reference with `samples` directions per point."""
    return MonteCarloEnvironment(light, samples) if isinstance(light, Environment) else light
