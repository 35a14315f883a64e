"""What given points of the image see."""

from diffrender.ops.probe.op import probe

__all__ = ["probe"]
