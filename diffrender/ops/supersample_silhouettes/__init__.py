"""More samples where outlines pass, and the outlines that are seen."""

from diffrender.ops.supersample_silhouettes.op import Beyond, Refined, refine

__all__ = ["Beyond", "Refined", "refine"]
