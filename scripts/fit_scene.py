"""Fit a scene file: python scripts/fit_scene.py scenes/quickstart.yaml"""

from diffrender.app.cli import fit_scene

if __name__ == "__main__":
    fit_scene()
