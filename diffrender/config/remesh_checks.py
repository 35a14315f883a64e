"""What `remesh` does not go together with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from diffrender.config.options.fields import is_number
from diffrender.config.untyped_config import as_mapping
from diffrender.config.yaml_tree import Location

Finding: TypeAlias = tuple[Location, str, tuple[str, ...]]
"""Where a mistake stands, what it is, what helps."""

OF_CONTINUOUS = ("every", "start", "stop")


def remesh_checks(location: Location, remesh: Any, path: str, data: dict[str, Any], steps: Any) -> Iterator[Finding]:
    """Mistakes in the `remesh` of the entry of `optimize` at `location`, whose canonical path is `path`."""
    if remesh is None:
        return
    place = (*location, "remesh")
    if not path.endswith(".mesh.vertices"):
        notes = ("write it below the vertices of the object: `mesh.vertices: {remesh: continuous}`",)
        yield place, f"`{location[1]}` cannot be remeshed", notes
        return
    edges = as_mapping(data.get("render")).get("edges")
    if edges == "hard" or as_mapping(edges).get("type") == "hard":
        notes = ("use antialias or soft edges, or take out `remesh`",)
        yield place, "`remesh` beside `render.edges: hard`: outlines do not pull, so no edge length is right", notes
    if _is_on(as_mapping(data.get("loss")).get("arap")):
        notes = ("take out one of them; bilaplacian and normal_consistency go with remeshing",)
        yield ("loss", "arap"), "`loss.arap` compares with the triangles of the start, which `remesh` replaces", notes
    yield from _times(place, remesh, steps)
    options = as_mapping(remesh)
    shortest: Any = options.get("shortest")
    longest: Any = options.get("longest")
    if is_number(shortest) and is_number(longest) and shortest > longest:
        message = f"`shortest` {shortest} is above `longest` {longest}"
        yield (*place, "shortest"), message, ("make it smaller",)


def _times(place: Location, remesh: Any, steps: Any) -> Iterator[Finding]:
    options = as_mapping(remesh)
    when = remesh if isinstance(remesh, list) else options.get("when")
    if isinstance(when, list):
        for key in OF_CONTINUOUS:
            if options.get(key):
                yield (*place, key), f"`{key}` beside a list of steps, which already says when", ("take it out",)
        late = [step for step in when if is_number(step) and is_number(steps) and int(step) >= steps]
        if late:
            yield place, f"remeshing after step {late[0]} of {steps} would come too late", ("name earlier steps",)
        return
    start: Any = options.get("start", 0)
    stop: Any = options.get("stop")
    if is_number(start) and is_number(stop) and stop <= start:
        yield (*place, "stop"), f"`stop` {stop} is not after `start` {start}", ("make `stop` larger",)


def _is_on(term: Any) -> bool:
    weight = term.get("weight", 1) if isinstance(term, dict) else term
    return weight is not None and weight != 0
