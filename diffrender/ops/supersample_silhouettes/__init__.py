"""More samples where outlines pass, and the outlines that are seen."""

from diffrender.ops.supersample_silhouettes.op import Beyond, Refined, supersample_silhouettes

__all__ = ["Beyond", "Refined", "supersample_silhouettes"]
