"""Fitting a scene to images: model, objective, optimiser and loop."""
