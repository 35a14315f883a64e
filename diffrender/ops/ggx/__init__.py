"""What a surface of glTF's metallic-roughness material reflects of light from single directions."""

from diffrender.ops.ggx.op import ggx

__all__ = ["ggx"]
