"""Where in a texture a pixel looks, and how much of it it sees."""

from diffrender.ops.screen_uvs.op import texture_places

__all__ = ["texture_places"]
