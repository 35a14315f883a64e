"""How far vertices may be from where they began before a fit counts as diverged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.scene.parameter_paths import ParameterPath

# In distances from an object to its farthest camera or vertex at the start: nothing that far can be fitted.
FAR = 100.0


class Reach:
    """The balls, in object units, that the learned vertices of a model must stay in."""

    @torch.no_grad()
    def __init__(self, model: SceneModel) -> None:
        self._balls: dict[str, tuple[Tensor, float]] = {}
        scene, eyes_w = model.initial_template.scene, model.cameras().positions_w()
        for path in model.latents:
            if not ParameterPath.parse(path).is_vertices:
                continue
            item = scene.objects[ParameterPath.parse(path).name]
            middle_w = item.vertices_w().mean(0)
            size_w = (torch.cat([item.vertices_w(), eyes_w]) - middle_w).norm(dim=1).max()
            self._balls[path] = item.mesh.vertices.mean(0), FAR * float(size_w / item.scale)

    def find_far(self, values: Mapping[str, Tensor]) -> str | None:
        """Return the path of the first vertices of which some are outside, or None."""
        for path, (middle, radius) in self._balls.items():
            if path in values and bool(((values[path].detach() - middle).abs() > radius).any()):
                return path
        return None
