"""Build the remeshing policy from the options of `remesh`; default lengths follow the resolution of the images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
from diffrender.setup.material_inputs import later_textures
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
    path: str, options: RemeshScheduleOptions, parts: Sequence[tuple[Object, ObjectOptions]], steps: int
) -> RemeshScheduleOptions:
    """Return `options` with `unwrap` filled in: whether `parts` are unwrapped again after their last remeshing.

    path: of the vertices, as in the scene file. parts: one object, or those of a surface, with their options. steps: of
        the fit.
    Raises ConfigError if unwrapping is requested where there are no textures.
    """
    sides = later_textures(written for _, written in parts)
    textures = [
        (written, field)
        for item, written in parts
        for field in kinds_of(item.material)
        if field in textures_of(item.material) or str(ParameterPath.material(written.name, field)) in sides
    ]
    if options.unwrap and not textures:
        raise ConfigError(
            f"optimize.{path}.remesh.unwrap: the object has no textures, so it needs no texture coordinates; remove"
            " `unwrap`"
        )
    if options.unwrap is not None:
        return options
    ends = options.when != "continuous" or (options.stop is not None and options.stop < steps)
    made_here = []
    for written, field in textures:
        form = getattr(written.material, field, None)
        is_ours = isinstance(form, TextureOf) and form.unwrap is None and not isinstance(written.mesh, FileMesh)
        made_here.append(is_ours or (isinstance(form, TextureOf) and bool(form.unwrap or form.from_vertices)))
    return options.model_copy(update={"unwrap": bool(ends and made_here and all(made_here))})


def pixel_width_w(item: Object, cameras: Cameras) -> float:
    """Return the width of a pixel in the world at the middle of an object: the median over the cameras."""
    with torch.no_grad():
        return float(cameras.pixel_size(item.vertices_w().mean(0, keepdim=True)).median())


def build_remeshing(
    objects: Iterable[ObjectOptions], parameters: Mapping[str, ParameterOptions], scene: Scene, cameras: Cameras
) -> dict[str, Remeshing]:
    """Return the remeshing policy of each object by the path of its vertices, from filled-in options.

    objects: of the scene file. Raises ConfigError if an initial mesh cannot be remeshed, or values of vertices never
    become the texture that they should.
    """
    remeshing, sides = {}, later_textures(objects)
    full_paths = {path: canonical_path(scene, cameras, path) for path in parameters}
    joined = {at: each for each in join_vertices(scene, list(full_paths.values())) for at in each.index}
    for path, options in parameters.items():
        if options.remesh is None:
            continue
        full = full_paths[path]
        fields = constructor_options(options.remesh, "when")
        if options.remesh.unwrap:
            names = {ParameterPath.parse(at).name for at in (joined[full].index if full in joined else [full])}
            own = {at for at in sides if ParameterPath.parse(at).name in names}
            fields["texture_sides"] = {at: sides.pop(at) for at in own}
        if options.remesh.when != "continuous":
            fields |= {"at": tuple(options.remesh.when), "every": 1}
        remeshing[path] = Remeshing(**fields)
        mesh = joined[full].mesh if full in joined else scene.objects[ParameterPath.parse(full).name].mesh
        try:
            policy, lengths = remeshing[path], remeshing[path].first_lengths(mesh)
            remesh_with_attributes(mesh, {}, lengths * policy.stretch(mesh, lengths), 1, policy.most_remeshed)
        except MeshError as error:
            raise ConfigError(
                f"optimize.{path}.remesh: the initial mesh cannot be remeshed: {error}; or remove `remesh`"
            ) from error
    for path in sides:
        raise ConfigError(
            f"{path}.from_vertices: nothing makes this a texture: its object is not unwrapped after its last remeshing;"
            " remove it, or give `optimize.mesh.vertices` a `remesh` that ends before the fit"
        )
    return remeshing
