"""Textures on surfaces: sampling, baking, packing, transfer to other texture coordinates."""
