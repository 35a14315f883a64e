"""Build the remeshing policy from the options of `remesh`; default lengths follow the resolution of the images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from diffrender.config.options.material_inputs import TextureOf
from diffrender.config.options.meshes import FileMesh
from diffrender.config.options.objects import ObjectOptions
from diffrender.config.options.parameters import ParameterOptions, RemeshScheduleOptions
from diffrender.config.scene_dependent_defaults import EVERY_WITH_LARGE_STEPS, LONGEST, SHORTEST_PX, SMOOTHING
from diffrender.errors import ConfigError, MeshError
from diffrender.fit.joined_vertices import join_vertices
from diffrender.fit.remeshing.remesh_object import remesh_with_attributes
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.scene.cameras import Cameras
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import ParameterPath, canonical_path
from diffrender.scene.quantity_kinds import kinds_of, textures_of
from diffrender.scene.scene import Scene
from diffrender.setup.scene import constructor_options


def fill_remesh(
    options: RemeshScheduleOptions, method: str, item: Object, cameras: Cameras, region_radius: float
) -> RemeshScheduleOptions:
    """Return `options` with defaults filled in.

    method: the parametrisation of the vertices of `item`.
    region_radius: radius of the object's region, in the world.
    Raises ConfigError if the shortest length is above the longest.
    """
    world_per_object = float(item.scale.detach())
    shortest = options.shortest or SHORTEST_PX * pixel_width_w(item, cameras) / world_per_object
    longest = options.longest or max(LONGEST * region_radius / world_per_object, shortest)
    if shortest > longest:
        raise ConfigError(
            f"remesh: shortest ({shortest:.3g}, by default {SHORTEST_PX:g} pixels) must not be above longest"
            f" ({longest:.3g}); set both, in object units"
        )
    is_smooth = method == "large_steps"
    smoothing = options.smoothing if options.smoothing is not None else 0.0 if is_smooth else SMOOTHING
    every = options.every
    if options.when == "continuous" and every is None:
        every = EVERY_WITH_LARGE_STEPS if is_smooth else 1
    return options.model_copy(update={"shortest": shortest, "longest": longest, "smoothing": smoothing, "every": every})


def fill_unwrap(
    path: str,
    options: RemeshScheduleOptions,
    parts: Sequence[tuple[Object, ObjectOptions]],
    steps: int,
    later: Collection[str],
) -> RemeshScheduleOptions:
    """Return `options` with `unwrap` filled in: whether `parts` are unwrapped again after their last remeshing.

    path: of the vertices, as in the scene file. parts: one object, or those of a surface, with their options. steps: of
        the fit. later: the paths of values of vertices that become textures.
    Raises ConfigError if unwrapping is requested where there are no textures.
    """
    textures = [
        (written, field)
        for item, written in parts
        for field in kinds_of(item.material)
        if field in textures_of(item.material) or str(ParameterPath.material(written.name, field)) in later
    ]
    if options.unwrap and not textures:
        raise ConfigError(
            f"optimize.{path}.remesh.unwrap: the object has no textures, so it needs no texture coordinates; remove"
            " `unwrap`"
        )
    if options.unwrap is not None:
        return options
    ends = options.when != "continuous" or (options.stop is not None and options.stop < steps)
    made_here = [_is_made_here(written, field) for written, field in textures]
    return options.model_copy(update={"unwrap": bool(ends and made_here and all(made_here))})


def _is_made_here(item: ObjectOptions, field: str) -> bool:
    """Return whether texture coordinates of a texture are not those of a mesh file."""
    form = getattr(item.material, field, None)
    if not isinstance(form, TextureOf):
        return False
    return form.from_vertices or bool(form.unwrap) or (form.unwrap is None and not isinstance(item.mesh, FileMesh))


def pixel_width_w(item: Object, cameras: Cameras) -> float:
    """Return the width of a pixel in the world at the middle of an object: the median over the cameras."""
    with torch.no_grad():
        return float(cameras.pixel_size(item.vertices_w().mean(0, keepdim=True)).median())


def build_remeshing(
    parameters: Mapping[str, ParameterOptions],
    scene: Scene,
    cameras: Cameras,
    later: Mapping[str, int],
    steps: int,
) -> dict[str, Remeshing]:
    """Return the remeshing policy of each object by the path of its vertices, from filled-in options.

    later: texels along each side of the textures that values of vertices become, by canonical path. steps: of the fit.
    Raises ConfigError if an initial mesh cannot be remeshed, or values of vertices never become their texture.
    """
    remeshing, unmade = {}, dict(later)
    full_paths = {path: canonical_path(scene, cameras, path) for path in parameters}
    joined = {at: each for each in join_vertices(scene, list(full_paths.values())) for at in each.index}
    for path, options in parameters.items():
        if options.remesh is None:
            continue
        full = full_paths[path]
        fields = constructor_options(options.remesh, "when")
        names = {ParameterPath.parse(at).name for at in (joined[full].index if full in joined else [full])}
        own = {at: side for at, side in later.items() if ParameterPath.parse(at).name in names}
        if options.remesh.when != "continuous":
            fields |= {"at": tuple(options.remesh.when), "every": 1}
        remeshing[path] = Remeshing(**fields, texture_sides=own if options.remesh.unwrap else {})
        if options.remesh.unwrap and any(remeshing[path].is_due(done, steps) for done in range(1, steps)):
            unmade = {at: side for at, side in unmade.items() if at not in own}
        mesh = joined[full].mesh if full in joined else scene.objects[ParameterPath.parse(full).name].mesh
        try:
            policy, lengths = remeshing[path], remeshing[path].first_lengths(mesh)
            remesh_with_attributes(mesh, {}, lengths * policy.stretch(mesh, lengths), 1, policy.most_remeshed)
        except MeshError as error:
            raise ConfigError(
                f"optimize.{path}.remesh: the initial mesh cannot be remeshed: {error}; or remove `remesh`"
            ) from error
    for path in unmade:
        raise ConfigError(
            f"{path}.from_vertices: this would never become a texture, which it does when its object is unwrapped after"
            " its last remeshing; remove it, or give the object's vertices a `remesh` that ends before the fit, with"
            " `unwrap: true`"
        )
    return remeshing
