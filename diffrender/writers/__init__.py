"""Files that a fit writes: pictures, meshes, cameras, numbers. Only here and in the readers is anything sRGB."""
