"""Compare rendered with wanted colours."""

from diffrender.ops.compare_colors.op import compare_colors

__all__ = ["compare_colors"]
