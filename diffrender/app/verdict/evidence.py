"""What the checks of a verdict look at: scores of each view, the mesh in the world, the course of the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.app.evaluation import Evaluation
from diffrender.app.verdict.diagnosis import Diagnosis, diagnose
from diffrender.evaluate.geometry import inside_share, triangles_w
from diffrender.fit.loop import FitResult
from diffrender.fit.objective import Loss
from diffrender.geometry.primitives import Triangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.quantity_kinds import CAMERA_POSES, POSE, SCALE, VERTICES, Kind
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.fit_setup import FitSetup
from diffrender.setup.region import Region, region_of_views


class FittedScores(NamedTuple):
    """Scores of the fitted views (evaluate.views.ViewScores), one entry per view.

    psnr_db: inside the mask, or of the whole image without masks.
    """

    names: Sequence[str]
    iou: Tensor
    psnr_db: Tensor
    brightness: Tensor
    target_brightness: Tensor
    uncovered: Tensor


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
    def finds_place(self) -> bool:
        """Whether it is only the places and sizes of objects that are learned."""
        return bool(self.learned_kinds) and self.learned_kinds <= {POSE, SCALE}

    @cached_property
    def learned_kinds(self) -> set[Kind]:
        """The kinds of all that is learned."""
        return {self.setup.model.kind(path) for path in self.setup.model.latents}

    @cached_property
    def compares_colors(self) -> bool:
        """Whether the objective compares colours with those of the targets."""
        return any(isinstance(term.measure, Loss) and term.name == "image" for term in self.setup.objective.terms)

    @cached_property
    def fits_silhouettes(self) -> bool:
        """Whether silhouettes are to match the masks: the objective compares them, or shapes or places are learned."""
        terms = self.setup.objective.terms
        return bool(self.learned_kinds & {VERTICES, POSE, CAMERA_POSES, SCALE}) or any(
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
    def inside_share(self) -> float:
        """The share of what is seen that is the inside of the surface; 0 if it is open."""
        return inside_share(self.surface, self.cameras) if self.evaluation.geometry.whole.watertight else 0.0

    @cached_property
    def scores(self) -> FittedScores:
        """Scores of the fitted views."""
        views = self.evaluation.views["fit"]
        has_masks = self.case.setup.fit_views.masks is not None
        rows = [
            (
                view.mask_iou,
                view.psnr_masked_db if has_masks else view.psnr_db,
                view.brightness,
                view.target_brightness,
                view.uncovered,
            )
            for view in views
        ]
        return FittedScores([view.name for view in views], *torch.tensor(rows).T)

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
    """A fit from its start to its end. rows: of metrics.jsonl. folder: of the run."""

    start: State
    end: State
    result: FitResult
    rows: Sequence[Mapping[str, Any]]
    folder: Path

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
