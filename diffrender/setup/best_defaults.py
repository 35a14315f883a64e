"""Choose what a scene file leaves out by what its targets are: the best fit that we know how to make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from diffrender.config.options.material_inputs import TextureOf
from diffrender.config.options.materials import LambertOptions, UnlitOptions
from diffrender.config.options.meshes import VisualHullMesh
from diffrender.config.options.parameters import ParameterOptions, RemeshScheduleOptions
from diffrender.config.options.schedules import ExponentialOptions
from diffrender.config.options.value_types import Albedo
from diffrender.config.scene_dependent_defaults import GRAY, VIEWS_FOR_POSES, VIEWS_OF_PICTURES
from diffrender.config.schema import FitConfig, ResolutionOptions
from diffrender.scene.target_views import Views
from diffrender.setup.exposure import BLUR

# Fewer views carve a hull that is much larger than the object.
FEWEST_FOR_HULL = 6
# A face per pixel of the object, while images are small, is as much as its pictures can tell apart; more make a rough
# surface, and take long. At the end each becomes four, smoothly: outlines of many pixels per face have corners.
FACES_PER_PIXEL, FEWEST_FACES, MOST_FACES = 1.0, 2_000, 12_000
# Shapes are fitted to images of about this long side: larger ones make steps slow and shapes no better.
SHAPE_SIDE = 200
# The part of the steps in which images are small and meshes are remeshed.
SMALL_UNTIL = 0.8
TEXTURES = (128, 2048)
DECAY = ExponentialOptions(final=0.1)
DECAYING = ParameterOptions(schedule=DECAY)


class Chosen(NamedTuple):
    """config: with choices filled in. reasons: why, by dotted key of the scene file.

    shape, color: how vertices and base colours are learned if the file does not say.
    """

    config: FitConfig
    reasons: Mapping[str, str]
    shape: ParameterOptions
    color: ParameterOptions


def choose_batch(config: FitConfig) -> tuple[FitConfig, dict[str, str]]:
    """Return `config` with more views per step where poses of cameras are learned, and why, by key of the file."""
    optimize = config.optimize
    if "cameras.pose" not in optimize.parameters() or "batch_size" in optimize.model_fields_set:
        return config, {}
    optimize = optimize.model_copy(update={"batch_size": VIEWS_FOR_POSES})
    reason = "more views per step: a shape that follows few at a time keeps their poses wrong"
    return config.model_copy(update={"optimize": optimize}), {"optimize.batch_size": reason}


def choose_defaults(config: FitConfig, views: Views) -> Chosen:
    """Return `config` with a mesh, a material and a schedule for one object that is carved out of silhouettes.

    A scene of several objects, with another initial mesh, or whose `optimize` names `mesh.vertices`, is left as it is.
    views: the fitted ones.
    """
    plain = Chosen(config, {}, DECAYING, DECAYING)
    masks = views.known_masks
    names_shape = any(path.endswith("mesh.vertices") for path in config.optimize.written())
    if config.objects is not None or masks is None or names_shape:
        return plain
    updates: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    if config.mesh is None and len(views) >= FEWEST_FOR_HULL and config.pose is None:
        updates["mesh"] = VisualHullMesh()
        reasons["mesh"] = f"the masks of {len(views)} views carve a first shape"
    elif not isinstance(config.mesh, VisualHullMesh):
        return plain
    side = max(views.cameras.height, views.cameras.width)
    if config.material is None or config.material.base_color is None:
        low, high = TEXTURES
        resolution = min(max(2 ** math.ceil(math.log2(side)), low), high)
        texture = TextureOf[Albedo](texture=GRAY, resolution=resolution)
        material = config.material or (LambertOptions() if config.lights else UnlitOptions())
        updates["material"] = material.model_copy(update={"base_color": texture})
        reasons["material"] = f"a texture holds more than vertices do; {resolution} texels for {side} pixels"
    optimize = config.optimize
    scale = 1.0
    if "resolution" not in optimize.model_fields_set and side > 1.5 * SHAPE_SIDE:
        scale = 2.0 ** round(math.log2(SHAPE_SIDE / side))
        until = max(1, round(SMALL_UNTIL * optimize.steps))
        updates["optimize"] = optimize.model_copy(update={"resolution": ResolutionOptions(scale=scale, until=until)})
        reasons["optimize.resolution"] = "shapes become no better on larger images, and steps are quick"
    if config.targets.path is not None and "batch_size" not in optimize.model_fields_set:
        chosen = updates.get("optimize", optimize)
        updates["optimize"] = chosen.model_copy(update={"batch_size": VIEWS_OF_PICTURES})
        reasons["optimize.batch_size"] = "a shape that many views agree on; fewer per step pull it to and fro"
    if _shows_blur(config):
        chosen = updates.get("optimize", optimize)
        updates["optimize"] = chosen.model_copy(update={BLUR: ParameterOptions()})
        reasons[f"optimize.{BLUR}"] = (
            "pictures are not quite sharp, and what leaks over an outline is not the surface's"
        )
    pixels = float(masks.sum((1, 2)).mean()) * scale**2
    budget = round(min(max(FEWEST_FACES, FACES_PER_PIXEL * pixels), MOST_FACES))
    stop = max(1, round(SMALL_UNTIL * optimize.steps))
    remesh = RemeshScheduleOptions(most_faces=4 * budget, stop=stop, subdivide=True)
    reasons["optimize.mesh.vertices"] = (
        f"a first shape needs other triangles; {budget:,} faces for {pixels:,.0f} pixels of the object, four times as"
        " many at the end"
    )
    shape = ParameterOptions(remesh=remesh, schedule=DECAY)
    return Chosen(config.model_copy(update=updates), reasons, shape, DECAYING)


def _shows_blur(config: FitConfig) -> bool:
    """Whether blur is learned: from files of pictures whose colours are compared, with shapes or colours."""
    learned = config.optimize.parameters()
    compares_colors = config.loss is None or config.loss.image is not None
    is_placed = any(path.split(".")[-1] in ("pose", "scale") and not path.startswith("cameras") for path in learned)
    is_random = config.targets.background == "random"
    return (
        config.targets.path is not None
        and compares_colors
        and not (is_placed or is_random or BLUR in config.optimize.written())
    )
