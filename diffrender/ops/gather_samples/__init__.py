"""List the samples that an image is made of."""

from diffrender.ops.gather_samples.op import Cuts, Samples, gather_samples

__all__ = ["Cuts", "Samples", "gather_samples"]
