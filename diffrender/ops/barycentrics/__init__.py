"""Locate points of the image on given faces: smooth in the vertices."""

from diffrender.ops.barycentrics.op import barycentrics

__all__ = ["barycentrics"]
