"""The table of projections, by the names that transforms.json (and COLMAP) has for camera models."""

from diffrender.scene.projection import Projection
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective

PROJECTIONS: dict[str, type[Projection]] = {"PINHOLE": Perspective, "ORTHOGRAPHIC": Orthographic}


def projection_name(projection: Projection) -> str:
    """The name of the camera model `projection` in PROJECTIONS."""
    return next(name for name, kind in PROJECTIONS.items() if type(projection) is kind)
