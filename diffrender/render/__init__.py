"""How a scene becomes an image."""
