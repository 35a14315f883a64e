"""The samples that an image is made of, in one list."""

from diffrender.ops.collect.op import Samples, collect

__all__ = ["Samples", "collect"]
