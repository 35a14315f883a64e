"""What the checks of a verdict look at: scores of each view, the mesh in the world, the course of the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from diffrender.app.evaluation import Evaluation
from diffrender.app.verdict.diagnosis import Diagnosis, diagnose
from diffrender.evaluate.geometry import triangles_w
from diffrender.evaluate.views import CHUNK
from diffrender.fit.loop import FitResult
from diffrender.fit.objective import Loss
from diffrender.geometry.primitives import Triangles
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.metrics import mask_iou, psnr_db
from diffrender.scene.cameras import Cameras
from diffrender.scene.quantity_kinds import CAMERA_POSES, POSE, SCALE, VERTICES
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views, evenly_spaced_indices
from diffrender.setup.fit_setup import FitSetup
from diffrender.setup.region import Region, region_of_views

# Views that are scored one by one: all of most captures.
MOST_VIEWS = 64


@dataclass(frozen=True)
class ViewScores:
    """Scores of the known pixels of some fitted views, one entry per view, on the CPU.

    iou: NaN without masks. psnr_db: inside the mask, or of the whole image without masks.
    brightness, target_brightness: mean linear colour of the covered pixels, and of the target inside its mask.
    """

    names: tuple[str, ...]
    iou: Tensor
    psnr_db: Tensor
    brightness: Tensor
    target_brightness: Tensor


@dataclass(frozen=True)
class Case:
    """What is known before the fit."""

    setup: FitSetup

    @cached_property
    def views(self) -> Views:
        """The fitted views, on the CPU."""
        return self.setup.fit_views.to("cpu")

    @cached_property
    def region(self) -> Region:
        """Where the targets suggest that the object is."""
        return self.setup.region if self.setup.config.targets.find_surface else region_of_views(self.views)

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """How far the masks agree through the cameras as they are before the fit."""
        return diagnose(self.views, self.setup.origin)

    @property
    def has_masks_by_depth(self) -> bool:
        """Whether the masks are those of an object that is found by its depth."""
        return self.setup.pictures is not None and self.views.masks is not None

    @cached_property
    def shape_paths(self) -> list[str]:
        """The paths of the vertices that are learned."""
        paths = self.setup.config.optimize.parameters()
        return [path for path in paths if self.setup.model.kind(path) == VERTICES]

    @cached_property
    def compares_colors(self) -> bool:
        """Whether the objective compares colours with those of the targets."""
        return any(isinstance(term.measure, Loss) and term.name == "image" for term in self.setup.objective.terms)

    @cached_property
    def fits_silhouettes(self) -> bool:
        """Whether silhouettes are to match the masks: the objective compares them, or shapes or places are learned."""
        kinds = {self.setup.model.kind(path) for path in self.setup.model.latents}
        terms = self.setup.objective.terms
        return bool(kinds & {VERTICES, POSE, CAMERA_POSES, SCALE}) or any(
            getattr(term.measure, "needs_masks", False) for term in terms
        )

    @cached_property
    def mask_radius_px(self) -> float:
        """The radius of a disc of the mean area of the masks; of the whole image without masks."""
        cameras, masks = self.views.cameras, self.views.known_masks
        area = cameras.height * cameras.width if masks is None else float(masks.sum((1, 2)).mean())
        return max(math.sqrt(area / math.pi), 1.0)


@dataclass(frozen=True)
class State:
    """A scene of the fit, before or after it."""

    case: Case
    scene: Scene
    cameras: Cameras
    evaluation: Evaluation

    @cached_property
    def surface(self) -> Triangles:
        """All objects in the world, as one mesh."""
        parts = list(triangles_w(self.scene).values())
        starts = [sum(len(part.vertices) for part in parts[:index]) for index in range(len(parts))]
        faces = [part.faces + start for part, start in zip(parts, starts, strict=True)]
        return Triangles(torch.cat([part.vertices for part in parts]), torch.cat(faces))

    @cached_property
    def scores(self) -> ViewScores:
        """Scores of the fitted views."""
        return _score_views(self.case.setup, self.scene, self.cameras)

    @property
    def main(self) -> Mapping[str, float]:
        """The scores that count: of the held-out views, or of the fitted ones if there are no others."""
        return self.evaluation.scores.get("heldout", self.evaluation.scores["fit"])

    def size(self) -> float:
        """Return half the diagonal of the bounding box."""
        vertices = self.surface.vertices
        return float((vertices.amax(0) - vertices.amin(0)).norm()) / 2


@dataclass(frozen=True)
class Course:
    """A fit from its start to its end. rows: of metrics.jsonl."""

    start: State
    end: State
    result: FitResult
    rows: Sequence[Mapping[str, Any]]

    @property
    def case(self) -> Case:
        """What was known before the fit."""
        return self.start.case

    @property
    def first_objective(self) -> float:
        """The objective of the start."""
        return self.result.objectives[0][1]

    @property
    def returned_objective(self) -> float:
        """The objective of the state that was returned."""
        return dict(self.result.objectives)[self.result.returned_step]


def masked_psnr(scores: Mapping[str, float]) -> float:
    """Return the PSNR inside the mask, or of the whole image without masks."""
    return scores["psnr_masked_db"] if math.isfinite(scores["psnr_masked_db"]) else scores["psnr_db"]


@torch.no_grad()
def _score_views(setup: FitSetup, scene: Scene, cameras: Cameras) -> ViewScores:
    index = evenly_spaced_indices(len(setup.fit_views), MOST_VIEWS)
    rows = []
    for start in range(0, len(index), CHUNK):
        part = index[start : start + CHUNK]
        views = setup.fit_views.select(part)
        rgba = setup.render_views(scene, cameras.select(part)).rgba
        color, covered = rgba[..., :3], (rgba[..., 3] > 0.5).to(rgba.dtype)
        inside = torch.ones_like(covered) if views.masks is None else (views.masks > 0.5).to(rgba.dtype)
        if views.weights is not None:
            covered, inside = covered * views.weights, inside * views.weights
        seen, target = (srgb_from_linear(image).clamp(0, 1) for image in (color, views.images))
        iou = torch.full_like(inside[:, 0, 0], math.nan)
        if views.masks is not None:
            iou = mask_iou(rgba[..., 3], views.masks, weight=views.weights)
        rows.append(
            torch.stack([iou, psnr_db(seen, target, inside), _mean(color, covered), _mean(views.images, inside)]).cpu()
        )
    names = tuple(setup.fit_views.names[i] for i in index)
    return ViewScores(names, *torch.cat(rows, 1))


def _mean(images: Tensor, weight: Tensor) -> Tensor:
    return torch.where(weight > 0, images.mean(-1) * weight, 0).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)
