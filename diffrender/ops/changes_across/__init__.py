"""Find the edges across which values change."""

from diffrender.ops.changes_across.op import changes_across

__all__ = ["changes_across"]
