"""Meshes as OBJ and MTL."""
