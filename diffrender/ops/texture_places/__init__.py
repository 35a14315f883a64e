"""Where in a texture a pixel looks, and how much of it it sees."""

from diffrender.ops.texture_places.op import texture_places

__all__ = ["texture_places"]
