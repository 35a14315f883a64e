"""How good a scene is: scores of views, geometry, materials and exposure."""
