"""Check rules across sections: dotted paths that must exist, options that exclude each other.

The checks read the plain data, so that mistakes are reported together with those of the types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffrender.config.format_mistakes import did_you_mean
from diffrender.config.options.base import Finding, arms_of, is_off
from diffrender.config.options.edges import AnyEdges
from diffrender.config.schema import OptimizeOptions
from diffrender.config.untyped_config import (
    as_list,
    as_mapping,
    is_image,
    is_lit,
    lights_by_name,
    may_be_of_part,
    optimizable_paths,
    shape_name,
    type_of,
)
from diffrender.config.yaml_tree import Location

OBJECT_KEYS = ("mesh", "material", "shading", "pose")
OPTIONS = list(OptimizeOptions.model_fields)
EDGE_OPTIONS = arms_of(AnyEdges)
ONE_OF_TWO = ("remove one of the two",)


def cross_checks(data: dict[str, Any]) -> Iterator[Finding]:
    """Yield all such mistakes. Parts of the wrong type are skipped, since the types report them."""
    for location in ((), ("targets", "synthetic")):
        scene = data
        for key in location:
            scene = as_mapping(scene.get(key))
        yield from _two_ways_of_objects(location, scene)
    yield from _from_run(data)
    yield from _shapes_of_targets(data)
    yield from _materials_of_targets(data)
    yield from _masks(data)
    yield from _paths(data)
    yield from _remeshing(data)


def _two_ways_of_objects(location: Location, scene: dict[str, Any]) -> Iterator[Finding]:
    for key in OBJECT_KEYS:
        if scene.get("objects") is not None and scene.get(key) is not None:
            yield Finding(
                (*location, key),
                f"`{key}` cannot be combined with `objects`",
                (f"move `{key}` into an entry of `objects`",),
            )


def _from_run(data: dict[str, Any]) -> Iterator[Finding]:
    for key in (*OBJECT_KEYS, "objects", "lights"):
        if data.get("from") is not None and data.get(key) is not None:
            message = f"`{key}` cannot be combined with `from`, which takes it from the run"
            yield Finding((key,), message, ONE_OF_TWO)


def _each_of(key: str, scene: dict[str, Any]) -> list[tuple[Location, Any]]:
    """Return what `key` is of the object at the top and of each of `objects`."""
    objects = enumerate(as_list(scene.get("objects")))
    return [((key,), scene.get(key)), *((("objects", i, key), as_mapping(item).get(key)) for i, item in objects)]


def _places_of(shape: str, scene: dict[str, Any]) -> Iterator[Location]:
    for location, mesh in _each_of("mesh", scene):
        if shape_name(mesh) == shape:
            yield (*location, "init") if isinstance(mesh, dict) else location


def _shapes_of_targets(data: dict[str, Any]) -> Iterator[Finding]:
    targets = as_mapping(data.get("targets"))
    for shape in ("visual_hull", "stereo"):
        for location in _places_of(shape, as_mapping(targets.get("synthetic"))):
            message = f"a target cannot be a `{shape}`, which is computed from the targets"
            yield Finding(("targets", "synthetic", *location), message, ("use another shape or a mesh file",))
    own = list(_places_of("visual_hull", data))
    if own and targets.get("masks") is False:
        message = "`visual_hull` needs masks, but `targets.masks` is false"
        yield Finding(own[0], message, ("remove `masks: false`, or start from `{init: sphere}`",))
    for location in own[1:]:
        message = "only one object can be a `visual_hull`: all share the masks, so both would have the same shape"
        yield Finding(location, message, ("use another shape or a mesh file",))
    for location in _places_of("stereo", data):
        if location[0] == "objects":
            message = "`stereo` is all that pictures show, so it is the `mesh` of a scene without `objects`"
            yield Finding(location, message, ("use another shape or a mesh file",))
        if targets.get("synthetic") is not None:
            message = "`stereo` is what photographs show, but the targets are `synthetic`"
            yield Finding(location, message, ("use another shape or a mesh file",))
        if targets.get("key") is not None:
            message = "`mesh: stereo` is what pictures without masks show, but `key` finds masks"
            yield Finding(("targets", "key"), message, ONE_OF_TWO)
        for key, value in (("find_masks", True), ("find_surface", False)):
            if targets.get(key) is value:
                message = f"`mesh: stereo` is what pictures without masks show, but `{key}` is {str(value).lower()}"
                yield Finding(("targets", key), message, ONE_OF_TWO)


def _materials_of_targets(data: dict[str, Any]) -> Iterator[Finding]:
    synthetic = as_mapping(as_mapping(data.get("targets")).get("synthetic"))
    for location, material in _each_of("material", synthetic):
        for name, value in as_mapping(material).items():
            if as_mapping(value).get("from_vertices"):
                message = "a target is not learned, so its values of vertices would never become a texture"
                yield Finding(("targets", "synthetic", *location, name, "from_vertices"), message, ("remove it",))


def _masks(data: dict[str, Any]) -> Iterator[Finding]:
    targets = as_mapping(data.get("targets"))
    if targets.get("masks") is False and _is_on(as_mapping(data.get("loss")).get("mask")):
        yield Finding(("loss", "mask"), "`loss.mask` needs masks, but `targets.masks` is false", ONE_OF_TWO)
    if targets.get("background") == "random" and not is_off(as_mapping(data.get("optimize")).get("background", "off")):
        message = "a random background cannot be learned, but `optimize` has `background`"
        yield Finding(("targets", "background"), message, ONE_OF_TWO)
    method = as_mapping(data.get("optimize")).get("method")
    if targets.get("background") == "random" and method == "levenberg_marquardt":
        message = "`method: levenberg_marquardt` compares the same pictures at each step, but the background is random"
        yield Finding(("targets", "background"), message, ONE_OF_TWO)
    if targets.get("fps") is not None and targets.get("missing") == "skip":
        message = "`fps` counts all pictures, but `missing: skip` may leave some out; give each frame its `time`"
        yield Finding(("targets", "fps"), message, ONE_OF_TWO)


def _is_on(term: Any) -> bool:
    weight = term.get("weight", 1) if isinstance(term, dict) else term
    return weight is not None and weight != 0


def _paths(data: dict[str, Any]) -> Iterator[Finding]:
    optimize = as_mapping(data.get("optimize"))
    if data.get("from") is not None:
        return  # what there is, is known once the run is read
    learned = {path for path, entry in optimize.items() if not is_off(entry)}
    paths = optimizable_paths(data)
    first: dict[str, str] = {}
    for path, entry in optimize.items():
        location = ("optimize", path)
        if path in OPTIONS:
            continue
        if path not in paths and not may_be_of_part(data, path):
            yield Finding(location, *_unknown_path(path, entry, paths))
            continue
        full = paths.get(path, path)
        twin = first.setdefault(full, path)
        if twin != path:
            yield Finding(location, f"`{path}` and `{twin}` are the same value", ("keep one of the two",))
        if is_off(entry):
            continue
        if as_mapping(entry).get("levels") and not is_image(data, full):
            message = f"`levels` only applies to textures and environment maps, but `{path}` is neither"
            yield Finding((*location, "levels"), message, ("remove it",))
        if path.startswith("lights.") and not is_lit(data):
            message = f"`{path}` has no effect: no material of this scene depends on light"
            yield Finding(location, message, ("use one that does, such as `material: {type: lambert}`",))
        for name, kind in lights_by_name(data).items():
            radiance = f"lights.{name}.radiance"
            if path in ("cameras.exposure", "cameras.white_balance") and kind == "flashes" and radiance in learned:
                message = f"`{path}` cannot be combined with `{radiance}`: the two are ambiguous"
                yield Finding(location, message, ONE_OF_TWO)


def _unknown_path(key: str, entry: Any, paths: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    glued, colon, _ = key.partition(":")
    if colon:
        return f"unknown key `optimize.{key}`", (f"YAML needs a space after the colon: `{glued}: ...`",)
    written_out = [path for name in as_mapping(entry) if (path := f"{key}.{name}") in paths]
    if written_out:
        note = f"write the whole path as one key: `{written_out[0]}: {{...}}`"
        return f"`{key}` is not a parameter of this scene", (note,)
    suggestion = did_you_mean(key, [*paths, *OPTIONS])
    # Name each value by its shortest path, which comes first.
    shortest = {full: path for path, full in reversed(paths.items())}
    notes = (f"known in `optimize`: {', '.join([*OPTIONS, *reversed(shortest.values())])}",)
    return f"unknown key or path `{key}` in `optimize`", ((suggestion, *notes) if suggestion else notes)


def _remeshing(data: dict[str, Any]) -> Iterator[Finding]:
    edges = type_of(as_mapping(data.get("render")).get("edges"))
    for path, entry in as_mapping(data.get("optimize")).items():
        if not path.endswith("mesh.vertices") or as_mapping(entry).get("remesh") is None:
            continue
        if edges in EDGE_OPTIONS and not EDGE_OPTIONS[edges].moves_silhouettes:
            message = f"`remesh` needs gradients of silhouettes, which `render.edges: {edges}` does not have"
            notes = ("use antialias or soft edges, or remove `remesh`",)
            yield Finding(("optimize", path, "remesh"), message, notes)
        if _is_on(as_mapping(data.get("loss")).get("arap")):
            notes = ("remove one of them; bilaplacian and normal_consistency work with remeshing",)
            message = "`loss.arap` compares with the triangles of the initial mesh, which `remesh` replaces"
            yield Finding(("loss", "arap"), message, notes)
