"""Soft: wide edges, for a wide basin of attraction."""

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

# sigma denotes a box one pixel wide convolved with a Gaussian of sqrt(sigma^2 - 1/4) px: 1/2 is the box alone.
SHARPEST_PX = 0.5


@dataclass(frozen=True)
class Soft(EdgeModel):
    """The antialiased image convolved with a Gaussian, with its gradient.

    Every pixel is a mean over a disc of the scene, so targets attract silhouettes and colours from several sigma away
    on both sides. It filters the visible image and does not blend triangles: surfaces stay opaque and seamless at any
    sigma, coverage at an edge stays one half, and memory does not depend on the number of triangles within reach. At
    sigma = 0.5 it is the antialiased image.

    sigma: blur in pixels, at least 0.5, default 4: the kernel is a box one pixel wide convolved with a Gaussian of
        standard deviation sqrt(sigma^2 - 0.25); the image is continued by its border pixels.
    samples: as in Antialias.

    Raises ShapeError for a value out of its range. In a scene file, where sigma decreases during the fit:

        render: {edges: {type: soft, sigma: 8, anneal: {until: 200}}}
    """

    sigma: float = 4.0
    samples: int = 4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= SHARPEST_PX):
            raise ShapeError(f"Soft: sigma must be at least {SHARPEST_PX} px, got {self.sigma}; or use Antialias")
        Antialias(self.samples)

    def visible(
        self,
        verts_hom: Tensor,
        topology: Topology,
        raster: Raster,
        near: float,
        backend: str | None,
        jumps: Tensor | None = None,
    ) -> Visible:
        """Return what antialiasing needs."""
        return Antialias(self.samples).visible(verts_hom, topology, raster, near, backend, jumps)

    def image(self, shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
        """Return the antialiased image, blurred; gradients reach silhouette segments through the blur."""
        image = resolve(shaded, topology, visible, backend)
        return blur(image, math.sqrt(self.sigma**2 - SHARPEST_PX**2), backend=backend)
