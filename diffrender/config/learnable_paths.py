"""List what `optimize:` can name, of every kind of scene, for `diffrender options params`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from diffrender.config.untyped_config import LIGHT_OPTIONS, MATERIAL_OPTIONS, learned_options

BY_DEFAULT = ("mesh.vertices", "material.base_color")
PLAIN = {
    "mesh.vertices": "the shape, in object units",
    "pose": "where the object is: rotation and translation; its shape and colours are then taken as known",
    "scale": "the object's size; its shape and colours are then taken as known",
    "background": "linear RGB behind the objects",
}
OF_CAMERAS = {
    "cameras.pose": "where each camera is, near where it starts; distortion of lenses is known, not learned",
    "cameras.focal": "focal lengths in pixels: one factor of all cameras, or those of each",
    "cameras.center": "principal points in pixels: one shift of all cameras, or those of each",
    "cameras.exposure": "the brightness of each picture, in stops",
    "cameras.white_balance": "factors of the RGB channels of each picture",
    "cameras.blur": "how blurred all pictures are: the standard deviation of a Gaussian, in pixels",
}


class LearnablePath(NamedTuple):
    """A dotted path, the kinds of material or light that have it, whether it is learned by default, what it is."""

    path: str
    of: str
    is_default: bool
    meaning: str


def learnable_paths() -> Iterator[LearnablePath]:
    """Yield all paths of a scene with one object; with several, those of objects begin with objects.<name>."""
    for path in ("mesh.vertices", "pose", "scale"):
        yield LearnablePath(path, "each object", path in BY_DEFAULT, PLAIN[path])
    for owner, options in (("material", MATERIAL_OPTIONS), ("lights.<name>", LIGHT_OPTIONS)):
        kinds: dict[tuple[str, str], list[str]] = {}
        for kind, model in options.items():
            for field in learned_options(model):
                kinds.setdefault((f"{owner}.{field}", model.model_fields[field].description or ""), []).append(kind)
        for (path, meaning), names in kinds.items():
            yield LearnablePath(path, ", ".join(names), path in BY_DEFAULT, meaning)
    yield LearnablePath("background", "the scene", False, PLAIN["background"])
    for path, meaning in OF_CAMERAS.items():
        yield LearnablePath(path, "all fitted views", False, meaning)
