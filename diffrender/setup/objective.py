"""Build the terms of the objective from the options of `loss:`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffrender.config.options.losses import (
    ColorSmoothnessOptions,
    LossOptions,
    MaskLossOptions,
    MaterialSmoothnessOptions,
    NormalConsistencyOptions,
    TermOptions,
)
from diffrender.config.options.parameters import ParameterOptions
from diffrender.config.scene_dependent_defaults import (
    EARLY_NORMAL_CONSISTENCY,
    LAPLACIAN,
    MASK_WITH_BLUR,
    NORMAL_CONSISTENCY,
    NORMAL_CONSISTENCY_OF_REMESHED,
    NORMAL_CONSISTENCY_WITH_LARGE_STEPS,
    SMOOTHNESS,
    SMOOTHNESS_OF_TEXTURES,
    WHITE_LIGHT,
)
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.objective import Term
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.scene.parameter_paths import ParameterPath, canonical_path, kind_of
from diffrender.scene.quantity_kinds import COLOR, NUMBER, SHARE
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.scene.textures.texture import Texture
from diffrender.setup.exposure import BLUR
from diffrender.setup.scene import constructor_options

# Kinds of a material's other inputs: roughness, shininess, the colour of a highlight.
FINISHES = (COLOR, SHARE, NUMBER)


def fill_loss(
    loss: LossOptions | None, parameters: Mapping[str, ParameterOptions], scene: Scene, views: Views
) -> LossOptions:
    """Return `loss`, or the default; where a mesh is remeshed, with the smoothness that it needs unless it says so.

    `normal_consistency: null` says so.
    """
    filled = default_loss(parameters, scene, views) if loss is None else loss
    is_smooth = {"normal_consistency", "laplacian", "bilaplacian"} & filled.model_fields_set
    if is_smooth or all(options.remesh is None for options in parameters.values()):
        return filled
    remeshed = NormalConsistencyOptions(weight=NORMAL_CONSISTENCY_OF_REMESHED, early=EARLY_NORMAL_CONSISTENCY)
    return filled.model_copy(update={"normal_consistency": remeshed})


def note_omitted_terms(loss: LossOptions | None, default: LossOptions, filled: LossOptions) -> list[str]:
    """Say which terms of the default a `loss:` of the file leaves out, unless it names them: null is on purpose."""
    if loss is None:
        return []
    omitted = [
        name
        for name in type(default).model_fields
        if getattr(default, name) is not None and getattr(filled, name) is None and name not in loss.model_fields_set
    ]
    if not omitted:
        return []
    names = ", ".join(omitted)
    return [
        f"`loss` says all terms: without it there would also be {names}; add what you want, or `{omitted[0]}: null`"
    ]


def default_loss(parameters: Mapping[str, ParameterOptions], scene: Scene, views: Views) -> LossOptions:
    """Return the loss of a scene file without `loss:`.

    parameters: what is learned of `scene`. Vertices that their method keeps smooth need little regularisation. If a
        material is learned beyond its colour, or a colour together with the light, many solutions look the same, and
        priors prefer the simple ones.
    """
    paths = {path: ParameterPath.parse(canonical_path(scene, views.cameras, path)) for path in parameters}
    kinds = {parts: kind_of(scene, views.cameras, path) for path, parts in paths.items()}
    of_materials = {parts.field: kind for parts, kind in kinds.items() if parts.part == "material"}
    learns_color = of_materials.pop("base_color", None) is not None
    learns_finish = any(kind in FINISHES for kind in of_materials.values())
    learns_light = any(parts.root == "lights" and kind.is_color for parts, kind in kinds.items())
    shapes = [options for path, options in parameters.items() if paths[path].is_vertices]
    color = ColorSmoothnessOptions(weight=SMOOTHNESS) if learns_color and learns_finish else None
    if color is None and learns_color and any(options.remesh is not None for options in shapes):
        is_texture = any(isinstance(item.material.base_color, Texture) for item in scene.objects.values())
        color = ColorSmoothnessOptions(weight=SMOOTHNESS_OF_TEXTURES, relative=True) if is_texture else None
    mask = MaskLossOptions(weight=MASK_WITH_BLUR) if BLUR in parameters else MaskLossOptions()
    priors = LossOptions(
        mask=mask if views.masks is not None else None,
        color_smoothness=color,
        material_smoothness=MaterialSmoothnessOptions(weight=SMOOTHNESS) if learns_finish else None,
        white_light=TermOptions(weight=WHITE_LIGHT) if learns_color and learns_light else None,
    )
    return priors.model_copy(update=_default_shape_terms(shapes))


def _default_shape_terms(shapes: Sequence[ParameterOptions]) -> dict[str, TermOptions]:
    """Return the default regularisers of learned vertices."""
    fixed = [options for options in shapes if options.remesh is None]
    if not fixed:
        return {}
    if all(options.method == "large_steps" for options in fixed):
        return {"normal_consistency": NormalConsistencyOptions(weight=NORMAL_CONSISTENCY_WITH_LARGE_STEPS)}
    return {
        "laplacian": TermOptions(weight=LAPLACIAN),
        "normal_consistency": NormalConsistencyOptions(weight=NORMAL_CONSISTENCY),
    }


def build_terms(loss: LossOptions, start: Scene) -> list[Term]:
    """Build the terms of the objective. start: the initial scene."""
    terms = []
    if loss.image is not None:
        terms.append(
            Term("image", loss.image.weight, IMAGE_LOSSES[loss.image.type](**constructor_options(loss.image, "weight")))
        )
    if loss.mask is not None:
        terms.append(
            Term("mask", loss.mask.weight, MASK_LOSSES[loss.mask.type](**constructor_options(loss.mask, "weight")))
        )
    terms += [Term(name, term.weight, AovLoss(name, term.type)) for name, term in loss.aovs().items()]
    for name, regularizer in REGULARIZERS.items():
        options: TermOptions | None = getattr(loss, name)
        if options is not None:
            measure = regularizer(**constructor_options(options, "weight", "early", "relative")).bind(start)
            relative_to = "image" if getattr(options, "relative", False) else None
            terms.append(Term(name, options.weight, measure, getattr(options, "early", 1.0), relative_to))
    return terms
