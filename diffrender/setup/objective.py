"""Build the terms of the objective from the options of `loss:`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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
    MANY_VIEWS,
    MASK_WITH_BLUR,
    NORMAL_CONSISTENCY,
    NORMAL_CONSISTENCY_OF_REMESHED,
    NORMAL_CONSISTENCY_WITH_LARGE_STEPS,
    NORMAL_CONSISTENCY_WITHOUT_LIGHT,
    PART_OF_PRIORS,
    SMOOTHNESS,
    SMOOTHNESS_OF_TEXTURES,
    VIEWS_OF_PRIORS,
    WHITE_LIGHT,
)
from diffrender.errors import ConfigError
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.objective import Term
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.scene.materials import Unlit
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
    loss: LossOptions | None,
    parameters: Mapping[str, ParameterOptions],
    scene: Scene,
    views: Views,
    later: Collection[str] = (),
) -> LossOptions:
    """Return the default loss, with what `loss` says of its terms instead; null removes one.

    later: the paths of values of vertices that become textures. Raises ConfigError if no term is left.
    """
    filled = default_loss(parameters, scene, views, loss is not None and loss.normal is not None, later)
    if loss is not None:
        names = sorted(loss.model_fields_set)
        filled = filled.model_copy(update={name: _fill(getattr(loss, name), getattr(filled, name)) for name in names})
    if not _is_on(filled.image) and filled.color_smoothness is not None and filled.color_smoothness.relative:
        filled = filled.model_copy(update={"color_smoothness": None})
    if not any(_is_on(getattr(filled, name)) for name in type(filled).model_fields):
        raise ConfigError("loss: has no term, so that nothing would be fitted; for example: `loss: {image: l1}`")
    return filled


def _fill(term: TermOptions | None, default: TermOptions | None) -> TermOptions | None:
    """Return `term`, with what it leaves out as in `default` if both are of one type."""
    if term is None or type(term) is not type(default) or getattr(term, "type", "") != getattr(default, "type", ""):
        return term
    return default.model_copy(update={name: getattr(term, name) for name in sorted(term.model_fields_set)})


def _is_on(term: TermOptions | None) -> bool:
    return term is not None and term.weight != 0


def default_loss(
    parameters: Mapping[str, ParameterOptions],
    scene: Scene,
    views: Views,
    compares_normals: bool = False,
    later: Collection[str] = (),
) -> LossOptions:
    """Return the loss of a scene file without `loss:`.

    parameters: what is learned of `scene`. Vertices that their method keeps smooth need little regularisation, and
        remeshed ones more, above all where images show normals: in light, or if images of normals are compared. If a
        material is learned beyond its colour, or a colour together with the light, many solutions look the same, and
        priors prefer the simple ones. views: the more, the less what they do not show is left to smoothness. later: the
        paths of values of vertices that become textures.
    """
    share = min(max((len(views) - VIEWS_OF_PRIORS) / (MANY_VIEWS - VIEWS_OF_PRIORS), 0.0), 1.0)
    doubt = 1 - share * (1 - PART_OF_PRIORS)
    paths = {path: ParameterPath.parse(canonical_path(scene, views.cameras, path)) for path in parameters}
    kinds = {parts: kind_of(scene, views.cameras, path) for path, parts in paths.items()}
    of_materials = {parts.field: kind for parts, kind in kinds.items() if parts.part == "material"}
    learns_color = of_materials.pop("base_color", None) is not None
    learns_finish = any(kind in FINISHES for kind in of_materials.values())
    learns_light = any(parts.root == "lights" and kind.is_color for parts, kind in kinds.items())
    shapes = [options for path, options in parameters.items() if paths[path].is_vertices]
    color = ColorSmoothnessOptions(weight=SMOOTHNESS) if learns_color and learns_finish else None
    if color is None and learns_color and any(options.remesh is not None for options in shapes):
        is_texture = any(
            isinstance(item.material.base_color, Texture) or str(ParameterPath.material(name, "base_color")) in later
            for name, item in scene.objects.items()
        )
        color = ColorSmoothnessOptions(weight=doubt * SMOOTHNESS_OF_TEXTURES, relative=True) if is_texture else None
    mask = MaskLossOptions(weight=MASK_WITH_BLUR) if BLUR in parameters else MaskLossOptions()
    priors = LossOptions(
        mask=mask if views.masks is not None else None,
        color_smoothness=color,
        material_smoothness=MaterialSmoothnessOptions(weight=SMOOTHNESS) if learns_finish else None,
        white_light=TermOptions(weight=WHITE_LIGHT) if learns_color and learns_light else None,
    )
    is_lit = any(not isinstance(item.material, Unlit) for item in scene.objects.values())
    return priors.model_copy(update=_default_shape_terms(shapes, is_lit or compares_normals, doubt))


def _default_shape_terms(
    shapes: Sequence[ParameterOptions], shows_normals: bool, doubt: float
) -> dict[str, TermOptions]:
    """Return the default regularisers of learned vertices. doubt: what those of remeshed ones are times."""
    fixed = [options for options in shapes if options.remesh is None]
    if not shapes:
        return {}
    if not fixed:
        weight = NORMAL_CONSISTENCY_OF_REMESHED if shows_normals else NORMAL_CONSISTENCY_WITHOUT_LIGHT
        remeshed = NormalConsistencyOptions(weight=doubt * weight, early=EARLY_NORMAL_CONSISTENCY)
        return {"normal_consistency": remeshed}
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
