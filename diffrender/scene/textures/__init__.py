"""Textures on surfaces: sampling, baking, packing, moving to other texture coordinates."""
