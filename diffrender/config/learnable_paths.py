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
    "cameras.pose": "where each camera is, near where it starts",
    "cameras.focal": "focal lengths in pixels: one factor of all cameras, or those of each",
    "cameras.center": "principal points in pixels: one shift of all cameras, or those of each",
    "cameras.k1": "distortion by 1 + k1 r^2 + k2 r^4 that is left in undistorted images, r in focal lengths",
    "cameras.k2": "see cameras.k1",
    "cameras.p1": "what a lens off its axis adds: 2 p1 x y + p2 (r^2 + 2 x^2) to x, and so for y, as in OpenCV",
    "cameras.p2": "see cameras.p1",
    "cameras.exposure": "the brightness of each picture, in stops",
    "cameras.white_balance": "factors of the RGB channels of each picture",
    "cameras.vignetting": "light lost towards the corners: a, b, c of 1 + a r^2 + b r^4 + c r^6, r = 1 there",
    "cameras.response": "how pictures depart from the sRGB curve; needs light that is known, or exposures that are",
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
    yield LearnablePath(
        "program.<name>", "a program", True, "a parameter of the program, which other values follow from"
    )
    yield LearnablePath("background", "the scene", False, PLAIN["background"])
    for path, meaning in OF_CAMERAS.items():
        yield LearnablePath(path, "all fitted views", False, meaning)
