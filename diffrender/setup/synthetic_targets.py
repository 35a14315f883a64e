"""Target views of a scene that the scene file describes, rendered before the fit."""

from __future__ import annotations

from dataclasses import replace

import torch

from diffrender.config.options.meshes import FileMesh
from diffrender.config.options.targets import SyntheticOptions, TargetsOptions
from diffrender.config.scene_dependent_defaults import NEAR, SYNTHETIC_RESOLUTION
from diffrender.errors import ConfigError
from diffrender.evaluate.materials import Relit
from diffrender.geometry.orbits import grid_positions, sphere_positions
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.readers.rounding import FAR
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights.monte_carlo import with_monte_carlo
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.exposure import synthetic_gains
from diffrender.setup.lights import build_light, name_lights
from diffrender.setup.local_origin import ZERO, Origin, shift_lights, shift_positions
from diffrender.setup.programs import bind_program, follow_program, load_program, times_of
from diffrender.setup.region import InitRegion, Region, to_triple
from diffrender.setup.scene import build_scene
from diffrender.setup.synthetic_cameras import true_cameras, with_noise

# Objects so many times larger than the distance of the cameras are no room around them.
HUGE = 100.0


def render_targets(
    options: SyntheticOptions, targets: TargetsOptions, aovs: tuple[str, ...], seed: int
) -> tuple[Views, Scene, Cameras, Origin, list[str]]:
    """Render the target views.

    Returns them as the fit is told of them, what they show, the cameras that took them, the point of the world that is
    the origin of all, and notes. seed: of the noise.
    Raises ConfigError if no camera sees an object.
    """
    origin = _far_origin(options)
    by = (-origin[0], -origin[1], -origin[2])
    moved = shift_positions(options, by)
    if options.normalize:
        moved = moved.model_copy(update={"lights": options.lights})  # which are not normalized
    center = options.center if options.normalize else _add(options.center, by)
    size = targets.resolution or SYNTHETIC_RESOLUTION
    low, high = options.elevation_deg
    if options.eye is not None:
        eyes = torch.tensor(options.eye if options.normalize else _add(options.eye, by)).expand(options.views, 3)
    elif options.grid is None:
        eyes = sphere_positions(options.views, options.radius, center, low, high)
    else:
        eyes = grid_positions(*options.grid, options.radius, center)
    cameras = Cameras.perspective(
        eyes, center, fov_deg=options.fov_deg, height=size, width=size, near=NEAR / 3 * options.radius
    )
    place = InitRegion(Region(center, 1.0), None, None, origin)
    built = build_scene(moved, place)
    if options.normalize:
        built, origin = built._replace(scene=_fit_into_unit_sphere(built.scene)), ZERO
    cameras = with_times(cameras, targets.fps)
    if options.program is not None:
        loaded = load_program(options.program, "targets.synthetic.program")
        program = bind_program(loaded, times_of(cameras), origin)
        built = follow_program(built, None if options.normalize else moved, place, loaded, program, origin)
    scene, notes = built.scene, built.notes
    taken = synthetic_gains(true_cameras(cameras, options.camera_errors, center), options)
    views = synthetic_views(_with_light_samples(scene, options.light_samples), taken, options.samples, aovs)
    notes += _doubt_size(scene, views, options, origin)
    # The true cameras are hidden from the fit.
    views = replace(views, cameras=cameras, images=with_noise(views.images, options.noise, seed))
    return views if targets.masks else replace(views, masks=None), scene, taken, origin, notes


def with_times(cameras: Cameras, fps: float | None) -> Cameras:
    """Return the cameras of a whole capture as those of a video with `fps` frames per second; None: unchanged."""
    return cameras if fps is None else replace(cameras, time=torch.arange(len(cameras), dtype=torch.float64) / fps)


def build_relit(options: SyntheticOptions, scene: Scene, cameras: Cameras, origin: Origin) -> Relit | None:
    """Return the target scene under its `relight` lights, seen by `cameras`; None without any.

    origin: the point of the world that is that of scene and cameras.
    """
    if options.relight is None:
        return None
    relight = shift_lights(options.relight, (-origin[0], -origin[1], -origin[2]))
    lights = {name: build_light(light) for name, light in name_lights(relight).items()}
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


def _far_origin(options: SyntheticOptions) -> Origin:
    """Return the point that positions are relative to; 0 unless the cameras, or files to be normalized, are far."""
    if not options.normalize:
        center, eye = torch.tensor(options.center, dtype=torch.float64), options.eye
        distance = options.radius if eye is None else float((torch.tensor(eye, dtype=torch.float64) - center).norm())
        return options.center if float(center.norm()) > FAR * distance else ZERO
    for item in options.all_objects():
        if isinstance(item.mesh, FileMesh) and item.pose is None:
            bounds = read_mesh(item.mesh.file).mesh.bounds()
            return to_triple(bounds.mean(0)) if bounds.dtype == torch.float64 else ZERO
    return ZERO


def _add(point: Origin, by: Origin) -> Origin:
    x, y, z = (a + b for a, b in zip(point, by, strict=True))
    return x, y, z


def _doubt_size(scene: Scene, views: Views, options: SyntheticOptions, origin: Origin) -> list[str]:
    """Return a note if the objects are far larger than the cameras' distance. Raises ConfigError if none is seen."""
    vertices_w = torch.cat([item.vertices_w() for item in scene.objects.values()]).double()
    low, high = vertices_w.amin(0), vertices_w.amax(0)
    remedy = "set `normalize: true`, or `center` and `radius`"
    if views.masks is not None and not views.masks.any():
        box = " to ".join(
            f"({', '.join(f'{x:.9g}' for x in _add(to_triple(corner), origin))})" for corner in (low, high)
        )
        raise ConfigError(f"targets.synthetic: no camera sees an object; they are in the box from {box}; {remedy}")
    size = float((high - low).max())
    if options.eye is None and size > HUGE * options.radius:
        return [f"the target objects are {size:.3g} wide, but the cameras {options.radius:g} from `center`; {remedy}"]
    return []
