"""Files in: images, meshes and captures become linear images, Mesh, Texture and Views in our frames."""
