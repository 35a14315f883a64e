"""Shade glTF's metallic-roughness material under single lights."""

from diffrender.ops.ggx.op import ggx

__all__ = ["ggx"]
