"""Remeshing inside a fit: when, to which lengths, and what moves to the new triangles."""
