"""Evaluation of fitted materials against those of a known target, for metrics.json."""

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
from diffrender.scene.light import Light
from diffrender.scene.materials import Unlit
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import SHARE, kinds_of, map_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views


@dataclass(frozen=True)
class Relit:
    """The target under lights that the fit never saw.

    lights: by name. views: the target rendered under them.
    """

    lights: Mapping[str, Light]
    views: Views


@dataclass(frozen=True)
class MaterialReport:
    """Errors of materials against the target's over the surface that the views see; all pixels count equally.

    base_color_psnr_db: PSNR of sRGB albedo after one common scale factor, since brighter light on a darker surface
        looks the same. base_color_scale: that factor.
    base_color_balanced_psnr_db: after one factor per channel instead, since the same holds for coloured light.
    share_mae: mean absolute errors of roughness, metallic and all other fields in 0..1, by name.
    relight: scores of `evaluate_views` under unseen lights, base colours scaled by base_color_scale; None if there are
        no such lights.
    """

    base_color_psnr_db: float
    base_color_scale: float
    base_color_balanced_psnr_db: float
    share_mae: Mapping[str, float]
    relight: dict[str, float] | None

    def as_json(self) -> dict[str, Any]:
        """Return the numbers under `material` and, if there are relighting scores, under `relight`."""
        numbers = dataclasses.asdict(self)
        relight, shares = numbers.pop("relight"), numbers.pop("share_mae")
        document = {"material": numbers | {f"{name}_mae": value for name, value in shares.items()}}
        return document if relight is None else {**document, "relight": relight}


class MaterialEvaluator:
    """Evaluates the materials of scenes against a known target's; built once, used for several scenes.

    target: the scene that the target images show. cameras: they see the surface that counts. relit: the target under
        unseen lights.
    """

    def __init__(self, target: Scene, cameras: Cameras, relit: Relit | None, render_views: RenderViews) -> None:
        self._target, self._cameras, self._relit, self._render_views = target, cameras, relit, render_views
        self._colors = _visible_values(target, "base_color", cameras)
        self._shares = {name: _visible_values(target, name, cameras) for name in _common_shares(target)}

    def report(self, scene: Scene) -> MaterialReport | None:
        """Return the report on `scene`; None if its material types differ from the target's, or nothing is in view."""
        if _kinds(scene) != _kinds(self._target):
            return None
        target, fitted, both = self._pairs(self._colors, _visible_values(scene, "base_color", self._cameras))
        if not bool(both.any()):
            return None
        scale = float((target * fitted).sum() / fitted.square().sum().clamp_min(1e-12))
        balance = (target * fitted).sum(0) / fitted.square().sum(0).clamp_min(1e-12)
        maes = {}
        for name, share in self._shares.items():
            first, second, _ = self._pairs(share, _visible_values(scene, name, self._cameras))
            maes[name] = float((first - second).abs().mean())
        return MaterialReport(
            _color_psnr_db(target, scale * fitted),
            scale,
            _color_psnr_db(target, balance * fitted),
            maes,
            self._relight(scene, scale),
        )

    def _relight(self, scene: Scene, scale: float) -> dict[str, float] | None:
        if self._relit is None:
            return None
        objects = {name: _scale_base_color(item, scale) for name, item in scene.objects.items()}
        relit = dataclasses.replace(scene, objects=objects, lights=self._relit.lights)
        return evaluate_views(relit, self._relit.views, self._render_views)

    def _pairs(self, target: Tensor, fitted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values [K, 3] of the target and of a scene at pixels where both are visible, and that mask [P]."""
        both = (target[:, 3] > 0) & (fitted[:, 3] > 0)
        return target[both, :3], fitted[both, :3], both


def _kinds(scene: Scene) -> set[type]:
    return {type(item.material) for item in scene.objects.values()}


def _common_shares(scene: Scene) -> list[str]:
    """Return the fields in 0..1 that the materials of all objects have in common."""
    kinds = [kinds_of(item.material) for item in scene.objects.values()]
    return [name for name, kind in kinds[0].items() if kind == SHARE and all(name in others for others in kinds)]


@torch.no_grad()
def _visible_values(scene: Scene, field: str, cameras: Cameras) -> Tensor:
    """Render one material field: [P, 4], its value (a scalar three times) and the coverage at all pixel centres."""
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


def _color_psnr_db(target: Tensor, fitted: Tensor) -> float:
    first, second = (srgb_from_linear(values).clamp(0, 1) for values in (target, fitted))
    return float(-10 * (first - second).square().mean().clamp_min(1e-10).log10())
