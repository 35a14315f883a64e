"""Where the picture of a mesh has its outlines."""

from diffrender.ops.silhouettes.op import Contours, silhouettes

__all__ = ["Contours", "silhouettes"]
