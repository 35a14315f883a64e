"""Evaluation of a scene: scores of its views, geometry and materials, and matching of exposure."""
