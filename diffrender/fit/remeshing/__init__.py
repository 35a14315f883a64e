"""Remeshing during a fit: schedule, target edge lengths, and transfer of state to the new triangles."""
