"""Find the lines along which faces pass through one another."""

from diffrender.ops.intersections.op import Intersections, intersections

__all__ = ["Intersections", "intersections"]
