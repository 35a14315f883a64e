"""Build the fitted and the held-out views from the options of `targets:`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.config.options.meshes import StereoMesh
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
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.local_origin import Origin
from diffrender.setup.mask_width import narrow_masks
from diffrender.setup.picture_agreement import PictureAgreement
from diffrender.setup.region import (
    InitRegion,
    region_of_box,
    region_of_surface,
    region_of_views,
    sight_of_views,
    to_triple,
)
from diffrender.setup.synthetic_targets import build_relit, render_targets, with_times
from diffrender.setup.without_masks import Found, find_without_masks


class Targets(NamedTuple):
    """What the scene is fitted to.

    fit: the fitted views. heldout: the views for evaluation only, or None.
    place: estimate of where the object is. background: linear RGB behind it.
    scene: the scene that the views show; None for photographs.
    relit: the same scene under the `relight` lights; None if there are none.
    notes: what readers say of the files. has_found_masks: whether the masks of `fit` are not those of the capture.
    cameras: those that took the fitted views, of which `fit` may have others; None for photographs.
    pictures: how far pictures without masks fit onto each other; None if unknown.
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
    pictures: PictureAgreement | None = None


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
    if options.shrink_masks is not None:
        if fit.masks is None:
            raise ConfigError("targets.shrink_masks: the capture has no masks; remove it")
        fit = narrow_masks(fit, options.shrink_masks, background)
        heldout = None if heldout is None else narrow_masks(heldout, options.shrink_masks, background)
    is_stated = any(color is not None for color in candidates)
    found, has_found = Found(fit, heldout, background), False
    if options.path is not None and fit.masks is None:
        try:
            found = find_without_masks(config, found, is_stated, aabb, origin)
        except DataError as error:
            raise DataError(f"{options.path}: {error}") from error
        notes += [f"{Path(options.path).name}: {note}" for note in found.notes]
        fit, heldout, background = found.fit, found.heldout, found.background
        has_found = fit.masks is not None
    elif options.key is not None:
        raise ConfigError(
            "targets.key: the colour of a backdrop finds masks, but the capture has masks; remove it, or the masks"
        )
    elif isinstance(config.mesh, StereoMesh) or options.find_surface:
        remedy = "start from another shape" if options.path is None else "remove it, or add `targets: {masks: false}`"
        raise ConfigError(
            f"the surface of `mesh: stereo` or `targets.find_surface` is what photographs without masks show, but the"
            f" targets have masks; {remedy}"
        )
    # Cameras that find depths are where they are, wherever they look.
    doubt = None if options.path is None or found.surface is not None else doubt_poses(fit, origin, aabb)
    if options.path is not None and doubt is not None:
        notes.append(f"{Path(options.path).name}: {doubt}")
    if aabb is None:
        lost = fit.masks is not None and not sight_of_views(fit).is_met
        place = InitRegion(region_of_views(fit), None, fit, origin, doubt if lost else None)
    else:
        low, high = aabb
        place = InitRegion(region_of_box(low, high), (to_triple(low), to_triple(high)), fit, origin)
    if found.surface is not None:
        place = place._replace(region=region_of_surface(found.surface.vertices), surface=found.surface)
    near = config.render.near or NEAR * place.region.radius
    fit, heldout = _with_near(fit, near), None if heldout is None else _with_near(heldout, near)
    place, told = place._replace(views=fit), tuple(notes)
    return Targets(fit, heldout, place, background, scene, relit, told, has_found, cameras, found.pictures)


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
        path, CaptureOptions(options.resolution, background, options.masks, aovs, skip_missing, ignore, options.fov_deg)
    )
    notes = [f"{Path(path).name}: {note}" for note in capture.notes]
    own_times = capture.views.cameras.time
    views = replace(capture.views, cameras=with_times(capture.views.cameras, options.fps))
    if own_times is not None and options.fps is not None and float((own_times - views.cameras.time).abs().max()) > 1e-3:
        first, last = (float(each) for each in own_times.aminmax())
        notes.append(
            f"{Path(path).name}: targets.fps replaces the `time` of its frames, {first:g} to {last:g} s, by 0 to"
            f" {float(views.cameras.time[-1]):g} s; remove targets.fps to keep it"
        )
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
