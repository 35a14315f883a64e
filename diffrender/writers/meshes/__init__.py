"""Meshes to OBJ and MTL."""
