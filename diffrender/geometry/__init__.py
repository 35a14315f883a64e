"""Mathematics of meshes and cameras, independent of scenes and fits."""
