"""Which faces does each pixel see."""

from diffrender.ops.rasterize.op import FaceBins, Raster, rasterize

__all__ = ["FaceBins", "Raster", "rasterize"]
