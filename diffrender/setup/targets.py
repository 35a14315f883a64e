"""Build the fitted and the held-out views from the options of `targets:`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.config.options.meshes import FileMesh, VisualHullMesh
from diffrender.config.options.targets import TargetsOptions
from diffrender.config.scene_dependent_defaults import EVERY, FEWEST_TO_SPLIT, NEAR
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError
from diffrender.evaluate.materials import Relit
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.backdrop import find_backdrop, with_masks
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.local_origin import Origin
from diffrender.setup.object_masks import composite, find_object_masks
from diffrender.setup.region import InitRegion, region_of_box, region_of_views, sight_of_views, to_triple
from diffrender.setup.synthetic_targets import build_relit, render_targets, with_times


class Targets(NamedTuple):
    """What the scene is fitted to.

    fit: the fitted views. heldout: the views for evaluation only, or None.
    place: estimate of where the object is. background: linear RGB behind it.
    scene: the scene that the views show; None for photographs.
    relit: the same scene under the `relight` lights; None if there are none.
    notes: what readers say of the files. has_found_masks: whether the masks of `fit` are not those of the capture.
    cameras: those that took the fitted views, of which `fit` may have others; None for photographs.
    """

    fit: Views
    heldout: Views | None
    place: InitRegion
    background: tuple[float, float, float]
    scene: Scene | None
    relit: Relit | None
    notes: tuple[str, ...] = ()
    has_found_masks: bool = False
    cameras: Cameras | None = None


def build_targets(config: FitConfig) -> Targets:
    """Read or render the target views of `config`, on the CPU. Raises DataError, ConfigError."""
    options = config.targets
    synthetic = options.synthetic
    fixed = None if options.background == "random" else options.background
    candidates = (config.background, fixed, synthetic.background if synthetic is not None else None)
    background = next((color for color in candidates if color is not None), (0.0, 0.0, 0.0))
    aovs = tuple(config.loss.aovs()) if config.loss is not None else ()
    if synthetic is not None:
        synthetic = synthetic.model_copy(update={"background": background})
        views, scene, taken, origin, notes = render_targets(synthetic, options, aovs, config.optimize.seed)
        fit, heldout = _split(views, options)
        cameras = _split(replace(views, cameras=taken), options)[0].cameras
        relit = build_relit(synthetic, scene, (heldout or fit).cameras, origin)
        aabb = None
    else:
        assert options.path is not None
        scene = relit = cameras = None
        fit, heldout, aabb, origin, notes = _read(options.path, options, background, aovs)
    is_stated = any(color is not None for color in candidates)
    find = options.find_masks
    if find is None:
        find = options.masks and (not is_stated or isinstance(config.mesh, VisualHullMesh))
    has_found = False
    if options.path is not None and fit.masks is None and find:
        fit, heldout, backdrop, found = _with_found_masks(fit, heldout, _most_parts(config))
        background = background if is_stated or backdrop is None else backdrop
        if backdrop is None and not found and (options.find_masks or _carves(config)):
            fit, heldout, found = _with_object_masks(fit, heldout, background, aabb)
        has_found = fit.masks is not None
        if options.find_masks and not has_found:
            raise DataError(f"{options.path}: masks cannot be found: {'; '.join(found)}; remove `targets.find_masks`")
        notes += [f"{Path(options.path).name}: {note}" for note in found]
    doubt = None if options.path is None else doubt_poses(fit, origin, aabb)
    if options.path is not None and doubt is not None:
        notes.append(f"{Path(options.path).name}: {doubt}")
    if aabb is None:
        lost = fit.masks is not None and not sight_of_views(fit).is_met
        place = InitRegion(region_of_views(fit), None, fit, origin, doubt if lost else None)
    else:
        low, high = aabb
        place = InitRegion(region_of_box(low, high), (to_triple(low), to_triple(high)), fit, origin)
    near = config.render.near or NEAR * place.region.radius
    fit, heldout = _with_near(fit, near), None if heldout is None else _with_near(heldout, near)
    return Targets(fit, heldout, place._replace(views=fit), background, scene, relit, tuple(notes), has_found, cameras)


def _carves(config: FitConfig) -> bool:
    """Whether the one object of the scene is carved out of masks, if there are any."""
    is_alone = config.objects is None and config.pose is None
    return is_alone and isinstance(config.mesh, VisualHullMesh | None)


def _with_object_masks(
    fit: Views, heldout: Views | None, background: tuple[float, float, float], box: Tensor | None
) -> tuple[Views, Views | None, list[str]]:
    """Return the views with masks of what all look at, over the `background`, and notes; unchanged without any."""
    found, of_heldout, why = find_object_masks(fit, heldout, box)
    if found is None:
        return fit, heldout, [f"it has no masks, and its pictures have no backdrop of one colour; {why}"]
    note = (
        "it has no masks: those of the object that all pictures look at are found, by its depth and colours, without"
        " what it stands on; `diffrender check` draws them; give your own if they are wrong, or"
        " `targets: {masks: false}`"
    )
    heldout = of_heldout if of_heldout is None or of_heldout.masks is None else composite(of_heldout, background)
    return composite(found, background), heldout, [note, why] if why else [note]


def _most_parts(config: FitConfig) -> int | None:
    """Return how many parts apart from each other the objects are expected to be in a picture; None: any number."""
    objects = config.all_objects()
    if any(isinstance(item.mesh, VisualHullMesh) and item.mesh.components == "all" for item in objects):
        return None
    # A file of several materials is one entry, but several in the resolved file.
    parts = {
        (item.mesh.file, repr(item.pose)) for item in objects if isinstance(item.mesh, FileMesh) and item.mesh.part
    }
    return len(parts) + sum(not (isinstance(item.mesh, FileMesh) and item.mesh.part) for item in objects)


def _with_found_masks(
    fit: Views, heldout: Views | None, n_parts: int | None
) -> tuple[Views, Views | None, tuple[float, float, float] | None, list[str]]:
    """Return the views with masks, the linear colour of their backdrop, and notes; unchanged and None without any.

    Held-out views stay without masks if one of them has none.
    """
    backdrop = find_backdrop(fit)
    if backdrop is None:
        return fit, heldout, None, []
    color = ", ".join(f"{value:.3g}" for value in backdrop.linear)
    before = f"a backdrop of one colour ([{color}] in linear RGB)"
    masked, lost, apart = with_masks(fit, backdrop, n_parts)
    if lost:
        return fit, heldout, None, [f"it has {before}, but no object is found in front of it in {lost[0]}: no masks"]
    largest = "the largest part" if n_parts == 1 else "all parts" if n_parts is None else f"the {n_parts} largest parts"
    notes = [
        f"it has no masks, but {before}: masks of {largest} in front of it are found;"
        " `targets: {masks: false}` does without"
    ]
    if apart:
        notes.append(
            f"there is another part in front of its backdrop in {len(apart)} of its pictures, such as {apart[0]}, that"
            " is not in the masks: if it is to be fitted, give masks, an entry of `objects` for each, or `mesh: {init:"
            " visual_hull, components: all}`"
        )
    if heldout is not None:
        heldout, lost, _ = with_masks(heldout, backdrop, n_parts)
        notes += [f"no object is found in the held-out {lost[0]}: held-out views have no masks"] if lost else []
    return masked, heldout, backdrop.linear, notes


def _with_near(views: Views, near: float) -> Views:
    """Return `views` with that near depth, if their cameras need one."""
    cameras = views.cameras
    is_needed = cameras.projection.default_near > 0
    return replace(views, cameras=replace(cameras, near=near)) if is_needed else views


def _read(
    path: str | Path, options: TargetsOptions, background: tuple[float, float, float], aovs: tuple[str, ...]
) -> tuple[Views, Views | None, Tensor | None, Origin, list[str]]:
    """Return the views to fit, those held out, the box around the object, the origin of these, and notes."""
    skip_missing = options.missing == "skip"
    ignore = None if options.ignore is None else Path(options.ignore)
    capture = read_capture(
        path, CaptureOptions(options.resolution, background, options.masks, aovs, skip_missing, ignore)
    )
    notes = [f"{Path(path).name}: {note}" for note in capture.notes]
    views = replace(capture.views, cameras=with_times(capture.views.cameras, options.fps))
    if options.test_every != "auto" or capture.holds_out:
        return *_split(views, options), capture.aabb, capture.origin, notes
    heldout, told = (None, ()) if capture.read_heldout is None else capture.read_heldout()
    notes += [f"{Path(path).name}: held out: {note}" for note in told]
    if heldout is not None:
        heldout = replace(heldout, cameras=with_times(heldout.cameras, options.fps))
    return views, heldout, capture.aabb, capture.origin, notes


def _split(views: Views, options: TargetsOptions) -> tuple[Views, Views | None]:
    """Hold out the views with index % test_every == 0."""
    every = options.test_every
    if every == "auto":
        every = EVERY if len(views) >= FEWEST_TO_SPLIT else None
    if every is None:
        return views, None
    index = torch.arange(len(views))
    is_heldout: Tensor = index % every == 0
    if bool(is_heldout.all()):
        raise ConfigError(f"targets.test_every: {every} would hold out the only view; set test_every: null")
    return views.select(index[~is_heldout]), views.select(index[is_heldout])
