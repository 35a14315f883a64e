"""Captures: images with known cameras."""
