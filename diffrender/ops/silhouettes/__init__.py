"""Where the picture of a mesh has its outlines."""

from diffrender.ops.silhouettes.op import Contours, contours

__all__ = ["Contours", "contours"]
