"""How much of a light points see, past what a shadow map holds."""

from diffrender.ops.sample_shadow_map.op import Occluders, shadow

__all__ = ["Occluders", "shadow"]
