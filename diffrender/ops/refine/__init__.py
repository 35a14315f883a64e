"""More samples where outlines pass, and the outlines that are seen."""

from diffrender.ops.refine.op import Beyond, Refined, refine

__all__ = ["Beyond", "Refined", "refine"]
