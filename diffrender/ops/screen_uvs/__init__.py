"""Where in a texture a pixel looks, and how much of it it sees."""

from diffrender.ops.screen_uvs.op import screen_uvs

__all__ = ["screen_uvs"]
