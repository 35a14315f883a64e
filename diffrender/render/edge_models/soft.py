"""Wide edges, for a wide basin."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology
from diffrender.ops.blur import blur
from diffrender.ops.rasterize import Raster
from diffrender.render.edge_model import EdgeModel, Shaded, Visible, resolve
from diffrender.render.edge_models.antialias import Antialias

# A box one pixel wide together with a Gaussian of sqrt(sigma^2 - 1/4) px is called sigma, so that 1/2 is the box alone.
SHARPEST_PX = 0.5


@dataclass(frozen=True)
class Soft(EdgeModel):
    """The antialiased image convolved with a Gaussian, and its gradient.

    Every pixel is a mean over a disc of the scene, so silhouettes and colours pull on geometry from several sigma away
    on both sides. It is a filter of the visible image, not a blend of triangles: surfaces stay opaque and without
    seams at any sigma, an edge stays half covered where it is, and memory does not depend on how many triangles are
    within reach. At sigma = 0.5 it is the antialiased image.

    sigma: blur in pixels, at least 0.5: the kernel is a box one pixel wide convolved with a Gaussian of standard
        deviation sqrt(sigma^2 - 0.25); beyond its border the image goes on with its border pixels.
    samples: as in Antialias.
    """

    sigma: float = 4.0
    samples: int = 4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= SHARPEST_PX):
            raise ShapeError(f"Soft: sigma must be at least {SHARPEST_PX} px, got {self.sigma}; or use antialias edges")
        Antialias(self.samples)

    def visible(
        self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None
    ) -> Visible:
        """What antialiasing needs."""
        return Antialias(self.samples).visible(verts_hom, topology, raster, near, backend)

    def image(self, shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
        """The antialiased image, blurred; its gradient comes back through the blur to the outlines."""
        image = resolve(shaded, topology, visible, backend)
        return blur(image, math.sqrt(self.sigma**2 - SHARPEST_PX**2), backend=backend)
