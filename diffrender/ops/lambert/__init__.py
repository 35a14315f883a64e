"""Shade a diffuse surface under single lights."""

from diffrender.ops.lambert.op import lambert

__all__ = ["lambert"]
