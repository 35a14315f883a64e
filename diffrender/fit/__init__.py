"""How a scene is learned from images."""
