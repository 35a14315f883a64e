"""Remeshing: edges of target length on the same surface."""
