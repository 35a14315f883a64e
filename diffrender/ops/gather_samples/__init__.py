"""List the samples that an image is made of."""

from diffrender.ops.gather_samples.op import Samples, gather_samples

__all__ = ["Samples", "gather_samples"]
