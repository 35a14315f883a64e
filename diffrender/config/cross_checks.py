"""What a type alone cannot see: names that must differ, dotted paths that must lead somewhere, options that exclude
each other. Works on the plain data, so that these mistakes are shown together with those of the types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from diffrender.config.diagnostics import Diagnostic, did_you_mean
from diffrender.config.error_messages import format_path, span_of
from diffrender.config.gain_checks import GAINS, gain_checks
from diffrender.config.options.fields import is_number
from diffrender.config.options.meshes import TorusMesh
from diffrender.config.remesh_checks import Finding, remesh_checks
from diffrender.config.schema import Method, OptimizeOptions
from diffrender.config.untyped_config import as_list, as_mapping, is_image, is_lit, name_of, optimizable_paths
from diffrender.config.yaml_tree import Location, Tree

OBJECT_KEYS = ("mesh", "material", "pose")


def cross_checks(tree: Tree, source: str) -> list[Diagnostic]:
    """All mistakes of that sort in `tree`; parts of a wrong type are passed over, since the types report them."""
    return [
        Diagnostic(span_of(location, tree, source, key=True), message, notes)
        for location, message, notes in _findings(tree)
    ]


def _findings(tree: Tree) -> Iterator[Finding]:
    data = tree.data
    yield from _targets(data)
    parts: list[tuple[Location, dict[str, Any]]] = [((), data)]
    synthetic = as_mapping(as_mapping(data.get("targets")).get("synthetic"))
    if synthetic:
        parts.append((("targets", "synthetic"), synthetic))
    yield from _hulls(data, parts)
    yield from _backgrounds(data)
    for location, scene in parts:
        yield from _two_ways_of_objects(location, scene)
        yield from _same_names(location, scene, tree)
        yield from _meshes(location, scene)
    yield from _optimize(data)
    yield from _loss(data)


def _targets(data: dict[str, Any]) -> Iterator[Finding]:
    targets = data.get("targets")
    if "targets" not in data or not isinstance(targets, dict | None):
        return
    targets = as_mapping(targets)
    given = [key for key in ("path", "synthetic") if targets.get(key) is not None]
    if len(given) == 2:
        yield ("targets", "synthetic"), "`targets` has both `path` and `synthetic`", ("take out one of them",)
    if not given:
        notes = (
            "photographs: `path: folder_with_transforms_json`",
            "rendered on the fly: `synthetic: {mesh: {init: bumpy}}`",
        )
        known = [key for key in targets if key not in ("resolution", "test_every", "background", "masks")]
        if not any(did_you_mean(key, ["path", "synthetic"]) for key in known):
            yield ("targets",), "`targets` lacks `path` or `synthetic`: where the images come from", notes


def _backgrounds(data: dict[str, Any]) -> Iterator[Finding]:
    targets = as_mapping(data.get("targets"))
    if targets.get("background") != "random":
        return
    location = ("targets", "background")
    if targets.get("masks", True) is False:
        yield location, "a random background wants masks, but `targets.masks` is false", ("take out one of the two",)
    if "background" in as_mapping(data.get("optimize")):
        message = "a random background leaves none to learn, but `optimize` has `background`"
        yield location, message, ("take out one of the two",)


def _two_ways_of_objects(location: Location, scene: dict[str, Any]) -> Iterator[Finding]:
    if scene.get("objects") is None:
        return
    for key in OBJECT_KEYS:
        if scene.get(key) is not None:
            yield (*location, key), f"`{key}` beside `objects`", (f"move `{key}` into an entry of `objects`",)


def _same_names(location: Location, scene: dict[str, Any], tree: Tree) -> Iterator[Finding]:
    for key in ("objects", "lights"):
        seen: dict[str, int] = {}
        for i, item in enumerate(as_list(scene.get(key))):
            name = name_of(item)
            if name is not None and name in seen:
                where = format_path((*location, key), tree)
                message = f"`{where}[{seen[name]}]` and `{where}[{i}]` are both named `{name}`"
                notes = ("give each a `name:` of its own",)
                yield (
                    (*location, key, i, *(("name",) if isinstance(item, dict) and "name" in item else ())),
                    message,
                    notes,
                )
            elif name is not None:
                seen[name] = i


def _meshes_of(location: Location, scene: dict[str, Any]) -> list[tuple[Location, dict[str, Any]]]:
    places = [((*location, "mesh"), as_mapping(scene.get("mesh")))]
    for i, item in enumerate(as_list(scene.get("objects"))):
        places.append(((*location, "objects", i, "mesh"), as_mapping(as_mapping(item).get("mesh"))))
    return places


def _hulls(data: dict[str, Any], parts: list[tuple[Location, dict[str, Any]]]) -> Iterator[Finding]:
    hulls = [
        (place, location)
        for location, scene in parts
        for place, mesh in _meshes_of(location, scene)
        if mesh.get("init") == "visual_hull"
    ]
    own = [place for place, location in hulls if not location]
    for place, location in hulls:
        if location:
            message = "a target has no visual hull to start from: the hull is carved from the targets"
            yield (*place, "init"), message, ("use another shape here, or a mesh file",)
    if own and as_mapping(data.get("targets")).get("masks", True) is False:
        message = "`visual_hull` is carved from masks, but `targets.masks` is false"
        yield (*own[0], "init"), message, ("take out `masks: false`, or start from `{init: sphere}`",)
    for place in own[1:]:
        message = "a second `visual_hull`: all objects share the masks, so the two would be the same shape"
        yield (*place, "init"), message, ("give this object another start",)


def _meshes(location: Location, scene: dict[str, Any]) -> Iterator[Finding]:
    for place, mesh in _meshes_of(location, scene):
        if mesh.get("aabb") is not None:
            for key in ("radius", "radii", "size", "center"):
                if mesh.get(key) is not None:
                    yield (*place, key), f"`{key}` beside `aabb`, which already says it", ("take out one of them",)
        tube, radius = (mesh.get(key, TorusMesh.model_fields[key].default) for key in ("tube", "radius"))
        if mesh.get("init") == "torus" and is_number(tube) and is_number(radius) and tube >= radius:
            message = f"the tube of radius {tube} leaves no hole in a ring of radius {radius}"
            yield (*place, "tube" if "tube" in mesh else "radius"), message, ("make `tube` smaller than `radius`",)


def _optimize(data: dict[str, Any]) -> Iterator[Finding]:
    optimize = as_mapping(data.get("optimize"))
    paths = optimizable_paths(data)
    options = list(OptimizeOptions.model_fields)
    steps = optimize.get("steps", OptimizeOptions().steps)
    first: dict[str, str] = {}
    until = as_mapping(optimize.get("resolution")).get("until")
    if is_number(until) and is_number(steps) and 0 < steps < until:
        message = f"whole images would come at step {until} of {steps}, which is never"
        yield ("optimize", "resolution", "until"), message, ("make `until` smaller or `steps` larger",)
    entries = {key: as_mapping(entry) for key, entry in optimize.items() if key not in options}
    if entries and all(is_number(entry.get("start", 0)) and entry.get("start", 0) > 0 for entry in entries.values()):
        yield ("optimize",), "nothing moves at step 0: every value has a later `start`", ("let one begin at once",)
    for key, entry in optimize.items():
        location = ("optimize", key)
        if key in options:
            continue
        if key not in paths:
            yield location, *_unknown_path(key, entry, paths, options)
            continue
        if paths[key] in first:
            yield location, f"`{key}` and `{first[paths[key]]}` are the same value", ("keep one of the two",)
        first[paths[key]] = key
        yield from _entry(location, as_mapping(entry), paths[key], steps)
        yield from gain_checks(location, paths[key], as_mapping(entry).get("method"), optimize, data)
        if as_mapping(entry).get("levels") and not is_image(data, paths[key]):
            message = f"`levels` is for textures and environment maps, and `{key}` is neither"
            yield (*location, "levels"), message, ("take it out",)
        yield from remesh_checks(location, as_mapping(entry).get("remesh"), paths[key], data, steps)
        if key.startswith("lights.") and not is_lit(data):
            message = f"`{key}` changes nothing: no material here depends on light"
            yield location, message, ("wanted a lit one: `material: {type: lambert}`",)


def _unknown_path(key: str, entry: Any, paths: dict[str, str], options: list[str]) -> tuple[str, tuple[str, ...]]:
    glued, colon, _ = key.partition(":")
    if colon:
        return f"unknown key `optimize.{key}`", (f"YAML wants a space after the colon: `{glued}: ...`",)
    inner = [f"{key}.{name}" for name in entry] if isinstance(entry, dict) else []
    written_out = [path for path in inner if path in paths]
    if written_out:
        return f"`{key}` is no value of this scene", (f"write the path in one piece: `{written_out[0]}: {{...}}`",)
    suggestion = did_you_mean(key, [*paths, *options])
    short = [path for path in paths if paths[path] != path or not _has_short(paths, path)]
    notes = (f"known in `optimize`: {', '.join([*options, *short])}",)
    return f"unknown key or path `{key}` in `optimize`", ((suggestion, *notes) if suggestion else notes)


def _has_short(paths: dict[str, str], canonical: str) -> bool:
    return any(full == canonical and path != canonical for path, full in paths.items())


def _entry(location: Location, entry: dict[str, Any], path: str, steps: Any) -> Iterator[Finding]:
    start: Any = entry.get("start", 0)
    stop: Any = entry.get("stop")
    method = entry.get("method")
    if is_number(start) and is_number(steps) and 0 < steps <= start:
        message = f"`{location[1]}` would never move: it starts at step {start} of {steps}"
        yield (*location, "start"), message, ("make `start` smaller or `steps` larger",)
    if is_number(start) and is_number(stop) and 0 < stop <= start:
        yield (*location, "stop"), f"`stop` {stop} is not after `start` {start}", ("make `stop` larger",)
    is_pose = path.endswith(".pose")
    is_shape = path.endswith(".mesh.vertices")
    if method in GAINS.values() or path in GAINS:
        pass
    elif method in get_args(Method) and ((method == "pose") != is_pose or (method == "large_steps" and not is_shape)):
        wanted = "pose" if is_pose else "another method, or none for the usual one"
        notes = ("large_steps is for mesh.vertices",) if method == "large_steps" else ()
        yield (*location, "method"), f"`{location[1]}` cannot have the method `{method}`; wanted {wanted}", notes
    elif not (is_shape and (method == "large_steps" or (method is None and entry.get("remesh") is None))):
        for key in ("lambda", "solver"):
            if entry.get(key) is not None:
                notes = ("write `method: large_steps`, or take it out",) if is_shape else ("take it out",)
                yield (*location, key), f"`{key}` is an option of large_steps, which `{location[1]}` has not", notes


def _loss(data: dict[str, Any]) -> Iterator[Finding]:
    loss = data.get("loss")
    if not isinstance(loss, dict):
        return
    masks = as_mapping(data.get("targets")).get("masks", True)
    if masks is False and loss.get("mask") is not None and _weight(loss["mask"]) != 0:
        yield ("loss", "mask"), "`loss.mask` wants masks, but `targets.masks` is false", ("take out one of the two",)
    terms = {"image": "l1"} | loss
    if all(term is None or _weight(term) == 0 for term in terms.values()):
        yield ("loss",), "`loss` has no term: nothing would be fitted", ("for example: `loss: {image: l1}`",)


def _weight(term: Any) -> Any:
    return term.get("weight", 1) if isinstance(term, dict) else term
