"""What learned exposures and white balances do not go together with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from diffrender.config.remesh_checks import Finding
from diffrender.config.untyped_config import lights_by_name
from diffrender.config.yaml_tree import Location

GAINS = {"cameras.exposure": "zero_mean", "cameras.white_balance": "balanced"}


def gain_checks(
    location: Location, path: str, method: Any, learned: Collection[str], data: dict[str, Any]
) -> Iterator[Finding]:
    """Mistakes in the entry of `optimize` at `location`, whose canonical path is `path`.

    learned: all keys of `optimize`.
    """
    own = GAINS.get(path)
    if own is not None and method is not None and method != own:
        notes = ("take it out: how bright the pictures are on the whole is told by the light",)
        yield (*location, "method"), f"`{path}` cannot have the method `{method}`; wanted {own}", notes
    if own is None and method in GAINS.values():
        notes = tuple(f"{method} is for {each}" for each, word in GAINS.items() if word == method)
        yield (*location, "method"), f"`{location[1]}` cannot have the method `{method}`", notes
    if own is None:
        return
    for name, kind in lights_by_name(data).items():
        radiance = f"lights.{name}.radiance"
        if kind == "flashes" and radiance in learned:
            message = f"`{path}` beside `{radiance}`: each picture has a light of its own, which says the same"
            yield location, message, ("take out one of the two",)
