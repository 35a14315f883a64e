"""The composition root: from a scene file's options to everything that a fit needs, with every default filled in."""
