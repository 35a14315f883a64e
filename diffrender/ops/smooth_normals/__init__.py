"""Unit normals of vertices, or of other groups of corners."""

from diffrender.ops.smooth_normals.op import smooth_normals

__all__ = ["smooth_normals"]
