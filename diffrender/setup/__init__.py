"""The composition root: everything that a fit needs, built from a scene file's options, with all defaults filled in."""
