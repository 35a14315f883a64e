"""Describe the reflection of glTF's metallic-roughness material by lobes, for light from all directions."""

from diffrender.ops.ggx_lobes.op import GgxLobes, ggx_lobes

__all__ = ["GgxLobes", "ggx_lobes"]
