"""Radiance from everywhere: maps, their directions, and the lobes they are blurred with."""
