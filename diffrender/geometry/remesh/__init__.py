"""Remeshing: edges of wanted length on the same surface."""
