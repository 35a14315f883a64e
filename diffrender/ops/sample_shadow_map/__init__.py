"""Sample how much of a light each point sees, past what a shadow map holds."""

from diffrender.ops.sample_shadow_map.op import Occluders, sample_shadow_map

__all__ = ["Occluders", "sample_shadow_map"]
