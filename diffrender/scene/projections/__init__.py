"""The table of projections, by the names of camera models in transforms.json and COLMAP."""

from diffrender.scene.projection import Projection
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.projections.radial_tangential import RadialTangential

PROJECTIONS: dict[str, type[Projection]] = {
    "PINHOLE": Perspective,
    "ORTHOGRAPHIC": Orthographic,
    "OPENCV": RadialTangential,
}


def projection_name(projection: Projection) -> str:
    """Return the name of `projection` in PROJECTIONS."""
    return next(name for name, kind in PROJECTIONS.items() if type(projection) is kind)
