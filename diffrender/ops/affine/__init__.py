"""Points moved by affine matrices."""

from diffrender.ops.affine.op import affine

__all__ = ["affine"]
