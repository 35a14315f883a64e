"""Choose what a scene file leaves out by what its targets are: the best fit that we know how to make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from diffrender.config.options.edges import HardOptions
from diffrender.config.options.losses import L2Options, LossOptions
from diffrender.config.options.material_inputs import Pattern, TextureOf
from diffrender.config.options.materials import AnyMaterial, LambertOptions, UnlitOptions
from diffrender.config.options.meshes import StereoMesh, VisualHullMesh
from diffrender.config.options.parameters import ParameterOptions, RemeshScheduleOptions
from diffrender.config.options.schedules import ExponentialOptions
from diffrender.config.options.value_types import Albedo
from diffrender.config.scene_dependent_defaults import (
    FEW_PICTURES,
    GRAY,
    LEAST_SIDE_OF_LEAST_SQUARES,
    MOST_STEPS,
    SAMPLES_OF_LEAST_SQUARES,
    STEPS_OF_LEAST_SQUARES,
    STEPS_PER_SIZE,
    TIMES_PER_VIEW,
    VIEWS_FOR_POSES,
    VIEWS_OF_PICTURES,
)
from diffrender.config.schema import FitConfig, OptimizeOptions, ResolutionOptions
from diffrender.scene.target_views import Views
from diffrender.setup.epipolar_tangents import measure_camera_errors
from diffrender.setup.exposure import BLUR
from diffrender.setup.mask_agreement import SIDE, shrink_masks
from diffrender.setup.picture_agreement import describe_misfit

# Fewer views carve a hull that is much larger than the object.
FEWEST_FOR_HULL = 6
# A face per pixel of the object, while images are small, is as much as its pictures can tell apart; more make a rough
# surface, and take long. At the end each becomes four, smoothly: outlines of many pixels per face have corners.
FACES_PER_PIXEL, FEWEST_FACES, MOST_FACES = 1.0, 2_000, 12_000
# Shapes are fitted to images of about this long side: larger ones make steps slow and shapes no better.
SHAPE_SIDE = 200
# The part of the steps in which images are small. Where they are a quarter as large at first, or less, steps at full
# size take four times as long: 50 of 400 give what 80 do on photographs of 640 pixels, 40 leave textures unfinished.
SMALL_UNTIL, LARGE_FROM = 0.8, 0.875
LARGE_SCALE = 0.25
# The part of those, also where all images are small, in which meshes are remeshed and vertices hold their colours. A
# texture from the start takes a third longer, and its details pull vertices about before the shape is there: pictures
# of 320 pixels 26.8 dB and 23 pairs of faces that cross, for 27.5 and none; with poses off by two degrees 26.1 dB and
# 211, for 27.5 and none. Without the last quarter, in which a texture is learned before images are full size, renders
# lose .4 to 2 dB.
REMESHED_UNTIL = 0.75
# A closed surface has four times the area of its mean outline, or more if it is hollow (Cauchy's formula), and charts
# fill six tenths of a texture; so this many texels per pixel of the object show each where it looks into a camera.
TEXELS_PER_PIXEL = 4 / 0.6
TEXTURES, MULTIPLE = (128, 2048), 64
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


def choose_poses(config: FitConfig, views: Views, misfit_px: float | None) -> tuple[FitConfig, dict[str, str]]:
    """Return `config` with poses of cameras learned if they are wrong by more than masks can be, and why, by key.

    Of photographs from which a shape is learned, unless the file names `cameras.pose`. views: the fitted ones.
    misfit_px: by how much they do not fit onto each other (setup.picture_agreement), which masks by depth hide.
    """
    optimize, mesh = config.optimize, config.mesh
    learns_shape = (
        config.objects is None and config.pose is None and isinstance(mesh, VisualHullMesh | StereoMesh | None)
    )
    is_open = learns_shape and config.from_run is None and "cameras.pose" not in optimize.written()
    if not is_open or config.targets.path is None or len(views) < FEWEST_FOR_HULL:
        return config, {}
    reason = describe_misfit(misfit_px)
    if misfit_px is None and views.masks is not None:
        found = measure_camera_errors(shrink_masks(views))
        if found is not None and found.are_of_cameras:
            reason = (
                f"at a long side of {SIDE} pixels outlines disagree by {found.before:.2g} pixels, and by"
                f" {found.after:.2g} if pictures are shifted: cameras are not exact"
            )
    if reason is None:
        return config, {}
    optimize = optimize.model_copy(update={"cameras.pose": ParameterOptions()})
    return config.model_copy(update={"optimize": optimize}), {"optimize.cameras.pose": reason}


def choose_batch(config: FitConfig) -> tuple[FitConfig, dict[str, str]]:
    """Return `config` with more views per step where poses of cameras are learned, and why, by key of the file."""
    optimize = config.optimize
    if optimize.method != "adam":
        return config, {}
    if "cameras.pose" not in optimize.parameters() or "batch_size" in optimize.model_fields_set:
        return config, {}
    optimize = optimize.model_copy(update={"batch_size": VIEWS_FOR_POSES})
    reason = "more views per step: a shape that follows few at a time keeps their poses wrong"
    return config.model_copy(update={"optimize": optimize}), {"optimize.batch_size": reason}


def choose_for_least_squares(config: FitConfig, views: Views) -> tuple[FitConfig, dict[str, str]]:
    """Return `config` with what suits Levenberg-Marquardt's method, if it is asked for, and why, by key of the file."""
    optimize, loss = config.optimize, config.loss or LossOptions()
    if optimize.method != "levenberg_marquardt":
        return config, {}
    reasons = {}
    updates: dict[str, Any] = {"batch_size": None}
    if "steps" not in optimize.model_fields_set:
        updates["steps"] = STEPS_OF_LEAST_SQUARES
    side = min(views.cameras.height, views.cameras.width)
    n_sizes = max(0, math.floor(math.log2(side / LEAST_SIDE_OF_LEAST_SQUARES)))
    if "resolution" not in optimize.model_fields_set and n_sizes:
        until = min(STEPS_PER_SIZE * n_sizes, updates.get("steps", optimize.steps))
        updates["resolution"] = ResolutionOptions(scale=2.0**-n_sizes, until=until)
        reasons["optimize.resolution"] = "a step is right for motions of a pixel or two, so large ones first"
    render = config.render
    if not isinstance(render.edges, HardOptions) and "samples" not in render.edges.model_fields_set:
        edges = render.edges.model_copy(update={"samples": SAMPLES_OF_LEAST_SQUARES})
        render = render.model_copy(update={"edges": edges})
        reasons["render.edges.samples"] = "what the last steps gain is less than one point of sixteen in a pixel"
    if "image" not in loss.model_fields_set:
        loss = loss.model_copy(update={"image": L2Options()})
        reasons["loss"] = "squares: steps of any other penalty are too short far from the solution"
    if config.targets.find_masks and "mask" not in loss.model_fields_set:
        loss = loss.model_copy(update={"mask": None})
        reasons["loss.mask"] = "none: masks that were found tell nothing that colours do not, and move what is found"
    optimize = optimize.model_copy(update=updates)
    return config.model_copy(update={"optimize": optimize, "loss": loss, "render": render}), reasons


def choose_defaults(config: FitConfig, views: Views, shows_surface: bool = False) -> Chosen:
    """Return `config` with a mesh, a material and a schedule for one object that is carved out of silhouettes.

    Or for the surface that depths show. A scene of several objects, with another initial mesh, or whose `optimize`
    names `mesh.vertices`, is left as it is, but for a mesh that is open.
    views: the fitted ones. shows_surface: whether nothing is known of them but where they see a surface.
    """
    updates: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    color = DECAYING
    is_surface = shows_surface and isinstance(config.mesh, StereoMesh | None)
    if is_surface and config.mesh is None:
        updates["mesh"] = StereoMesh()
        reasons["mesh"] = f"depths of {len(views)} views show a first shape"
    plain = Chosen(config.model_copy(update=updates), reasons, DECAYING, DECAYING)
    masks = views.known_pixels.float() if is_surface else views.known_masks
    names_shape = any(path.endswith("mesh.vertices") for path in config.optimize.written())
    if config.objects is not None or masks is None or names_shape:
        return plain
    may_carve = config.mesh is None and len(views) >= FEWEST_FOR_HULL and config.pose is None
    if may_carve and not is_surface:
        updates["mesh"] = VisualHullMesh()
        reasons["mesh"] = f"the masks of {len(views)} views carve a first shape"
    elif not (is_surface or isinstance(config.mesh, VisualHullMesh)):
        return plain
    side, shown = max(views.cameras.height, views.cameras.width), float(masks.sum((1, 2)).mean())
    optimize = _with_steps(config.optimize, len(views))
    if optimize is not config.optimize:
        updates["optimize"] = optimize
        times = optimize.steps * (optimize.batch_size or len(views)) // len(views)
        reasons["optimize.steps"] = (
            f"shapes that many views show need more; each of {len(views)} is compared {times} times"
        )
    scale = 1.0
    if "resolution" not in optimize.model_fields_set and side > 1.5 * SHAPE_SIDE:
        scale = 2.0 ** round(math.log2(SHAPE_SIDE / side))
    until = max(1, round((LARGE_FROM if scale <= LARGE_SCALE else SMALL_UNTIL) * optimize.steps))
    if scale < 1:
        updates["optimize"] = optimize.model_copy(update={"resolution": ResolutionOptions(scale=scale, until=until)})
        reasons["optimize.resolution"] = "shapes become no better on larger images, and steps are quick"
    stop = until
    own = None if config.material is None else config.material.base_color
    if own is None or _may_start_at_vertices(own):
        # A texture replaces vertex colours when the remeshed object is unwrapped.
        earlier = max(1, round(REMESHED_UNTIL * until))
        is_remeshed = optimize.method == "adam" and earlier < optimize.steps
        is_remeshed &= config.program is None and not _is_placed(config)
        is_alone = config.material is None or not any(
            isinstance(form, TextureOf) and form is not own for _, form in config.material
        )
        starts_at_vertices = is_remeshed and is_alone and _learns_colors_after(config, earlier)
        if starts_at_vertices:
            # Its rate decays from where the texture begins: from the first step, or not at all, cost .7 to 2 dB.
            stop, color = earlier, _decaying_after(earlier, optimize.steps)
        if own is None or starts_at_vertices:
            updates["material"], reasons["material"] = _choose_material(config, own, shown, starts_at_vertices)
    is_small = config.targets.path is not None and len(views) <= FEW_PICTURES
    if is_small and "batch_size" not in optimize.model_fields_set:
        chosen = updates.get("optimize", optimize)
        updates["optimize"] = chosen.model_copy(update={"batch_size": VIEWS_OF_PICTURES})
        reasons["optimize.batch_size"] = "of few pictures, four at a time pull a shape to and fro"
    if _shows_blur(config):
        chosen = updates.get("optimize", optimize)
        updates["optimize"] = chosen.model_copy(update={BLUR: ParameterOptions()})
        reasons[f"optimize.{BLUR}"] = (
            "pictures are not quite sharp, and what leaks over an outline is not the surface's"
        )
    pixels = shown * scale**2
    budget = round(min(max(FEWEST_FACES, FACES_PER_PIXEL * pixels), MOST_FACES))
    remesh = RemeshScheduleOptions(most_faces=4 * budget, stop=stop, subdivide=True)
    reasons["optimize.mesh.vertices"] = (
        f"a first shape needs other triangles; {budget:,} faces for {pixels:,.0f} pixels of the object, four times as"
        " many at the end"
    )
    shape = ParameterOptions(remesh=remesh, schedule=DECAY)
    return Chosen(config.model_copy(update=updates), reasons, shape, color)


def _choose_material(
    config: FitConfig, own: TextureOf[Any] | None, pixels: float, starts_at_vertices: bool
) -> tuple[AnyMaterial, str]:
    """Return the material with the file's own texture, or a gray one for an object of so many pixels, and why.

    starts_at_vertices: whether its colours are those of vertices first.
    """
    material = config.material or (LambertOptions() if config.lights else UnlitOptions())
    texture = own or _texture_for(pixels)
    size = f"{texture.resolution} x {texture.resolution}"
    reason = f"a texture holds more than vertices do; {size} for {pixels:,.0f} pixels of the object"
    learned = "learned at vertices until its mesh is remeshed no more"
    if starts_at_vertices:
        texture = texture.model_copy(update={"from_vertices": True})
        reason = learned if own else f"{reason}, {learned}"
    return material.model_copy(update={"base_color": texture}), reason


def _may_start_at_vertices(form: object) -> bool:
    """Whether a base colour of the file is a texture of one colour that it does not keep from starting at vertices."""
    if not isinstance(form, TextureOf) or isinstance(form.texture, str | Pattern):
        return False
    is_open = form.from_vertices or "from_vertices" not in form.model_fields_set
    return is_open and form.unwrap is not False and form.padding is None


def _learns_colors_after(config: FitConfig, step: int) -> bool:
    """Return whether base colours are learned after `step`."""
    if config.loss is not None and config.loss.image is None:
        return False
    written = config.optimize.written()
    own = written.get("material.base_color", ParameterOptions())
    return own is not None and (own.stop is None or own.stop > step)


def _decaying_after(step: int, steps: int) -> ParameterOptions:
    """Return options of a value whose rate is full until `step` of `steps`, and then decays."""
    return ParameterOptions(schedule=ExponentialOptions(final=DECAY.final, hold=step / steps))


def _texture_for(pixels: float) -> TextureOf[Albedo]:
    """Return a gray texture for an object of so many pixels."""
    texels = MULTIPLE * math.ceil(math.sqrt(TEXELS_PER_PIXEL * pixels) / MULTIPLE)
    return TextureOf[Albedo](texture=GRAY, resolution=min(max(texels, TEXTURES[0]), TEXTURES[1]))


def _with_steps(optimize: OptimizeOptions, n_views: int) -> OptimizeOptions:
    """Return the options with more steps, if the file leaves their number open and there are many views."""
    wanted = math.ceil(TIMES_PER_VIEW * n_views / (optimize.batch_size or n_views))
    is_open = optimize.method == "adam" and not optimize.model_fields_set & {"steps", "minutes"}
    if not is_open or wanted <= optimize.steps:
        return optimize
    return optimize.model_copy(update={"steps": min(wanted, MOST_STEPS)})


def _shows_blur(config: FitConfig) -> bool:
    """Whether blur is learned: from files of pictures whose colours are compared, with shapes or colours."""
    compares_colors = config.loss is None or config.loss.image is not None
    is_random = config.targets.background == "random"
    return (
        config.targets.path is not None
        and compares_colors
        and not (_is_placed(config) or is_random or BLUR in config.optimize.written())
    )


def _is_placed(config: FitConfig) -> bool:
    """Whether poses or sizes of objects are learned, so that their shapes are not by default."""
    learned = config.optimize.parameters()
    return any(path.split(".")[-1] in ("pose", "scale") and not path.startswith("cameras") for path in learned)
