"""Where the picture of a mesh has its outlines."""

from diffrender.ops.silhouettes.op import SilhouetteSegments, silhouettes

__all__ = ["SilhouetteSegments", "silhouettes"]
