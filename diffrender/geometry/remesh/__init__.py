"""Isotropic remeshing of a surface to a target edge length."""
