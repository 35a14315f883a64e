"""Find the silhouettes of a mesh in the image, as short segments."""

from diffrender.ops.silhouettes.op import SilhouetteSegments, silhouettes

__all__ = ["SilhouetteSegments", "silhouettes"]
