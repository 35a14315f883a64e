"""What a fit leaves behind: pictures, meshes, cameras, numbers. The only place, with the readers, where sRGB exists."""
