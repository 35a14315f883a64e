"""Build the fitted and the held-out views from the options of `targets:`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.config.options.meshes import FileMesh, VisualHullMesh
from diffrender.config.options.targets import SyntheticOptions, TargetsOptions
from diffrender.config.scene_dependent_defaults import EVERY, FEWEST_TO_SPLIT, NEAR, SYNTHETIC_RESOLUTION
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError
from diffrender.evaluate.materials import Relit
from diffrender.geometry.orbits import grid_positions, sphere_positions
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights.monte_carlo import with_monte_carlo
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.backdrop import find_backdrop, with_masks
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.exposure import synthetic_gains
from diffrender.setup.lights import build_light, name_lights
from diffrender.setup.local_origin import ZERO, Origin
from diffrender.setup.programs import apply_program
from diffrender.setup.region import InitRegion, Region, region_of_box, region_of_views, sight_of_views, to_triple
from diffrender.setup.scene import build_scene
from diffrender.setup.synthetic_cameras import true_cameras, with_noise


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
        views, scene, taken, notes = _render(synthetic, options, aovs, config.optimize.seed)
        fit, heldout = _split(views, options)
        cameras = _split(replace(views, cameras=taken), options)[0].cameras
        relit = _build_relit(synthetic, scene, (heldout or fit).cameras)
        aabb, origin = None, ZERO
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
        notes += [f"{Path(options.path).name}: {note}" for note in found]
        if options.find_masks and backdrop is None:
            what = "; ".join(found) or "its pictures have no backdrop of one colour"
            raise DataError(f"{options.path}: masks cannot be found: {what}; remove `targets.find_masks`")
        background = background if is_stated or backdrop is None else backdrop
        has_found = backdrop is not None
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
    views = replace(capture.views, cameras=_with_times(capture.views.cameras, options.fps))
    if options.test_every != "auto" or capture.holds_out:
        return *_split(views, options), capture.aabb, capture.origin, notes
    heldout, told = (None, ()) if capture.read_heldout is None else capture.read_heldout()
    notes += [f"{Path(path).name}: held out: {note}" for note in told]
    if heldout is not None:
        heldout = replace(heldout, cameras=_with_times(heldout.cameras, options.fps))
    return views, heldout, capture.aabb, capture.origin, notes


def _with_times(cameras: Cameras, fps: float | None) -> Cameras:
    """Return the cameras of a whole capture as those of a video with `fps` frames per second; None: unchanged."""
    return cameras if fps is None else replace(cameras, time=torch.arange(len(cameras), dtype=torch.float64) / fps)


def _render(
    options: SyntheticOptions, targets: TargetsOptions, aovs: tuple[str, ...], seed: int
) -> tuple[Views, Scene, Cameras, list[str]]:
    """Return the views as the fit is told of them, what they show, the cameras that took them, and notes."""
    size = targets.resolution or SYNTHETIC_RESOLUTION
    low, high = options.elevation_deg
    if options.eye is not None:
        eyes = torch.tensor(options.eye).expand(options.views, 3)
    elif options.grid is None:
        eyes = sphere_positions(options.views, options.radius, options.center, low, high)
    else:
        eyes = grid_positions(*options.grid, options.radius, options.center)
    cameras = Cameras.perspective(
        eyes, options.center, fov_deg=options.fov_deg, height=size, width=size, near=NEAR / 3 * options.radius
    )
    scene, _, notes, _ = build_scene(options, InitRegion(Region(options.center, 1.0), None, None))
    if options.normalize:
        scene = _fit_into_unit_sphere(scene)
    cameras = _with_times(cameras, targets.fps)
    scene = apply_program(scene, options, cameras)
    taken = synthetic_gains(true_cameras(cameras, options.camera_errors, options.center), options)
    views = synthetic_views(_with_light_samples(scene, options.light_samples), taken, options.samples, aovs)
    # The true cameras are hidden from the fit.
    views = replace(views, cameras=cameras, images=with_noise(views.images, options.noise, seed))
    return views if targets.masks else replace(views, masks=None), scene, taken, notes


def _build_relit(options: SyntheticOptions, scene: Scene, cameras: Cameras) -> Relit | None:
    if options.relight is None:
        return None
    lights = {name: build_light(light) for name, light in name_lights(options.relight).items()}
    relit = _with_light_samples(replace(scene, lights=lights), options.light_samples)
    return Relit(lights, synthetic_views(relit, cameras, options.samples))


def _with_light_samples(scene: Scene, light_samples: int | None) -> Scene:
    """Return `scene` with environments sampled by `light_samples` directions per point; None: unchanged."""
    if light_samples is None:
        return scene
    return replace(scene, lights={name: with_monte_carlo(light, light_samples) for name, light in scene.lights.items()})


def _fit_into_unit_sphere(scene: Scene) -> Scene:
    """Move and scale all objects together: middle of the bounding box at the origin, farthest vertex at distance 1."""
    vertices_w = torch.cat([item.vertices_w() for item in scene.objects.values()])
    middle = (vertices_w.amin(0) + vertices_w.amax(0)) / 2
    scale = 1 / (vertices_w - middle).norm(dim=1).max()
    objects = {}
    for name, item in scene.objects.items():
        pose = item.pose.clone()
        pose[:3, 3] = (pose[:3, 3] - middle) * scale
        objects[name] = replace(item, pose=pose, scale=item.scale * scale)
    return replace(scene, objects=objects)


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
