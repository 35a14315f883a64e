"""Where on its face each sample lies: smooth in the vertices."""

from diffrender.ops.barycentrics.op import barycentrics

__all__ = ["barycentrics"]
