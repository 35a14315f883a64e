"""Map points by affine maps."""

from diffrender.ops.transform_points.op import transform_points

__all__ = ["transform_points"]
