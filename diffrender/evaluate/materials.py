"""How near fitted materials are to those of a known target, for metrics.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffrender.evaluate.views import evaluate_views
from diffrender.imaging.color import srgb_from_linear
from diffrender.render.edge_models.hard import Hard
from diffrender.render.render import RenderViews, render
from diffrender.scene.cameras import Cameras
from diffrender.scene.fields import SHARE, kinds_of, map_tensors
from diffrender.scene.light import Light
from diffrender.scene.materials import Unlit
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views


@dataclass(frozen=True)
class Relit:
    """The target in light that the fit never saw.

    lights: by name. views: what the target looks like in it.
    """

    lights: Mapping[str, Light]
    views: Views


@dataclass(frozen=True)
class MaterialReport:
    """How near materials are to the target's, over the surface that the views see, each pixel counting alike.

    base_color_psnr_db: of sRGB colours, after one factor on all of them: brighter light on a darker surface looks the
        same. base_color_scale: that factor.
    base_color_balanced_psnr_db: after one factor a channel instead: so does light of another colour.
    share_mae: mean absolute differences of roughness, metallic and all else in 0..1 that the materials have, by name.
    relight: scores of images under other light, as of `evaluate_views`, base colours scaled by base_color_scale; None
        where there is no such light.
    """

    base_color_psnr_db: float
    base_color_scale: float
    base_color_balanced_psnr_db: float
    share_mae: Mapping[str, float]
    relight: dict[str, float] | None

    def as_json(self) -> dict[str, Any]:
        """`material` and, where there is one, `relight`, with the numbers that are known."""
        numbers = dataclasses.asdict(self)
        relight, shares = numbers.pop("relight"), numbers.pop("share_mae")
        found = {"material": numbers | {f"{name}_mae": value for name, value in shares.items()}}
        return found if relight is None else {**found, "relight": relight}


class MaterialEvaluator:
    """Measures the materials of scenes by a known target's; made once for several scenes.

    target: what the target images show. cameras: the views whose surface counts. relit: the target in other light.
    """

    def __init__(self, target: Scene, cameras: Cameras, relit: Relit | None, render_views: RenderViews) -> None:
        self._target, self._cameras, self._relit, self._render_views = target, cameras, relit, render_views
        self._colors = _visible_values(target, "base_color", cameras)
        self._shares = {name: _visible_values(target, name, cameras) for name in _common_shares(target)}

    def report(self, scene: Scene) -> MaterialReport | None:
        """What is found in `scene`; None where its materials are of other kinds than the target's, or out of view."""
        if _kinds(scene) != _kinds(self._target):
            return None
        wanted, found, both = self._pairs(self._colors, _visible_values(scene, "base_color", self._cameras))
        if not bool(both.any()):
            return None
        scale = float((wanted * found).sum() / found.square().sum().clamp_min(1e-12))
        balance = (wanted * found).sum(0) / found.square().sum(0).clamp_min(1e-12)
        maes = {}
        for name, target in self._shares.items():
            first, second, _ = self._pairs(target, _visible_values(scene, name, self._cameras))
            maes[name] = float((first - second).abs().mean())
        return MaterialReport(
            _color_psnr_db(wanted, scale * found),
            scale,
            _color_psnr_db(wanted, balance * found),
            maes,
            self._relight(scene, scale),
        )

    def _relight(self, scene: Scene, scale: float) -> dict[str, float] | None:
        if self._relit is None:
            return None
        objects = {name: _scale_base_color(item, scale) for name, item in scene.objects.items()}
        relit = dataclasses.replace(scene, objects=objects, lights=self._relit.lights)
        return evaluate_views(relit, self._relit.views, self._render_views)

    def _pairs(self, wanted: Tensor, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[K, 3] values of the target and of a scene where both are seen, and where that is, [P] bool."""
        both = (wanted[:, 3] > 0) & (found[:, 3] > 0)
        return wanted[both, :3], found[both, :3], both


def _kinds(scene: Scene) -> set[type]:
    return {type(item.material) for item in scene.objects.values()}


def _common_shares(scene: Scene) -> list[str]:
    """The fields in 0..1 that the materials of all objects have."""
    kinds = [kinds_of(item.material) for item in scene.objects.values()]
    return [name for name, kind in kinds[0].items() if kind == SHARE and all(name in others for others in kinds)]


@torch.no_grad()
def _visible_values(scene: Scene, field: str, cameras: Cameras) -> Tensor:
    """[P, 4]: a quantity (three times, where it is one number) and whether there is anything, at all pixel centres."""
    objects = {
        name: dataclasses.replace(item, material=Unlit(map_tensors(getattr(item.material, field), _as_color)))
        for name, item in scene.objects.items()
    }
    stage = Scene(objects, {}, torch.zeros_like(scene.background))
    images = [render(stage, cameras.select([view]), Hard()).image for view in range(len(cameras))]
    return torch.cat(images).reshape(-1, 4)


def _as_color(values: Tensor) -> Tensor:
    return values.detach().expand(*values.shape[:-1], 3).contiguous()


def _scale_base_color(item: Object, scale: float) -> Object:
    color = map_tensors(item.material.base_color, lambda values: (values * scale).clamp(0, 1))
    return item.with_values({"base_color": color})


def _color_psnr_db(wanted: Tensor, found: Tensor) -> float:
    first, second = (srgb_from_linear(values).clamp(0, 1) for values in (wanted, found))
    return float(-10 * (first - second).square().mean().clamp_min(1e-10).log10())
