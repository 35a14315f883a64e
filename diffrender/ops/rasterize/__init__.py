"""Find the nearest faces at every pixel centre."""

from diffrender.ops.rasterize.op import FaceBins, Raster, rasterize

__all__ = ["FaceBins", "Raster", "rasterize"]
