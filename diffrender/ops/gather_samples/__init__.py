"""The samples that an image is made of, in one list."""

from diffrender.ops.gather_samples.op import Samples, collect

__all__ = ["Samples", "collect"]
