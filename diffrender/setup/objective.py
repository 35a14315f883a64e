"""From `loss:` to the terms of the objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffrender.config.defaults import (
    LAPLACIAN,
    NORMAL_CONSISTENCY,
    NORMAL_CONSISTENCY_WITH_LARGE_STEPS,
    SMOOTHNESS,
    WHITE_LIGHT,
)
from diffrender.config.options.losses import LossOptions, MaskLossOptions, MaterialSmoothnessOptions, TermOptions
from diffrender.config.options.parameters import ParameterOptions
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.losses.aov_loss import BufferLoss
from diffrender.fit.objective import Term
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.scene.fields import COLOR, NUMBER, SHARE
from diffrender.scene.parameter_paths import ParameterPath, canonical_path, kind_of
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views
from diffrender.setup.scene import shelf_options

# What a material may have besides its colour: roughness, shininess, the colour of a highlight.
FINISHES = (COLOR, SHARE, NUMBER)


def default_loss(parameters: Mapping[str, ParameterOptions], scene: Scene, views: Views) -> LossOptions:
    """What is compared where the file does not say.

    parameters: what is learned of `scene`. Vertices that their method keeps smooth need little more of it. Where a
        material is learned beyond its colour, or a colour together with the light, many explanations look the same, and
        the simple ones are preferred.
    """
    paths = {path: ParameterPath.parse(canonical_path(scene, views.cameras, path)) for path in parameters}
    kinds = {parts: kind_of(scene, views.cameras, path) for path, parts in paths.items()}
    of_materials = {parts.field: kind for parts, kind in kinds.items() if parts.part == "material"}
    learns_color = of_materials.pop("base_color", None) is not None
    learns_finish = any(kind in FINISHES for kind in of_materials.values())
    learns_light = any(parts.root == "lights" and kind.is_color for parts, kind in kinds.items())
    shapes = [options for path, options in parameters.items() if paths[path].is_vertices]
    priors = LossOptions(
        mask=MaskLossOptions() if views.masks is not None else None,
        color_smoothness=TermOptions(weight=SMOOTHNESS) if learns_color and learns_finish else None,
        material_smoothness=MaterialSmoothnessOptions(weight=SMOOTHNESS) if learns_finish else None,
        white_light=TermOptions(weight=WHITE_LIGHT) if learns_color and learns_light else None,
    )
    return priors.model_copy(update=_shape_terms(shapes))


def _shape_terms(shapes: Sequence[ParameterOptions]) -> dict[str, TermOptions]:
    """The terms that keep learned vertices in order."""
    rough = [each for each in shapes if each.remesh is None]
    if not rough:
        return {}
    if all(each.method == "large_steps" for each in rough):
        return {"normal_consistency": TermOptions(weight=NORMAL_CONSISTENCY_WITH_LARGE_STEPS)}
    return {
        "laplacian": TermOptions(weight=LAPLACIAN),
        "normal_consistency": TermOptions(weight=NORMAL_CONSISTENCY),
    }


def terms_of(loss: LossOptions, start: Scene) -> list[Term]:
    """The terms of the objective; start: the scene that the fit starts from."""
    terms = []
    if loss.image is not None:
        terms.append(
            Term("image", loss.image.weight, IMAGE_LOSSES[loss.image.type](**shelf_options(loss.image, "weight")))
        )
    if loss.mask is not None:
        terms.append(Term("mask", loss.mask.weight, MASK_LOSSES[loss.mask.type](**shelf_options(loss.mask, "weight"))))
    for name, buffer in (("normal", loss.normal), ("depth", loss.depth)):
        if buffer is not None:
            terms.append(Term(name, buffer.weight, BufferLoss(name, buffer.type)))
    for name, regularizer in REGULARIZERS.items():
        options: TermOptions | None = getattr(loss, name)
        if options is not None:
            terms.append(Term(name, options.weight, regularizer(**shelf_options(options, "weight")).bind(start)))
    return terms
