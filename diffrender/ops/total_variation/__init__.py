"""Total variation of an image."""

from diffrender.ops.total_variation.op import total_variation

__all__ = ["total_variation"]
