"""Find the lines along which faces pass through one another."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_discrete

# Greatest length of a segment, in pixels; see ops.silhouettes.
SEGMENT_PX = 0.25
# Their number in a pixel's diagonal; a line that is longer is only rounding.
MOST_SEGMENTS = math.ceil(math.sqrt(2) / SEGMENT_PX)
# Faces whose nearness diverges by less than this fraction of it over a pixel coincide: where they meet is rounding, and
# how fast that moves grows without bound.
LEAST_STEEPNESS = 1e-6
# A line this close to an edge of either face, all along, in pixels: the faces touch there and do not pass through one
# another, as a box does that stands on a floor.
TOUCHING_PX = 1e-3
# How far the sides of pixels are moved left and up here, so that a line along a side is in one pixel in spite of
# rounding: in the one right of it or below.
SIDE_PX = 1e-9


class Intersections(NamedTuple):
    """I short segments of the lines along which two faces meet, at most SEGMENT_PX long each.

    pixel: [I] int64 (n H + i) W + j.
    face: [I, 2] int64 the two faces.
    bary: [I, 2, 3] the middle of the segment in each.
    xy_px: [I, 2] float64; depth: [I] float64.
    normal_px, depth_weight: [I, 2, 2], [I, 2]; where the point of face k at the middle moves by d in the image and by z
        in depth, the line moves out of face k's part of the pixel and sweeps normal_px[k] . d + depth_weight[k] z of
        its area.
    """

    pixel: Tensor
    face: Tensor
    bary: Tensor
    xy_px: Tensor
    depth: Tensor
    normal_px: Tensor
    depth_weight: Tensor


def intersections(
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    pair: Tensor,
    height: int,
    width: int,
    *,
    backend: str | None = None,
) -> Intersections:
    """Find the line of intersection of each of Q pairs of faces inside a pixel; many have none there.

    Nearness is q = 1 / depth for perspective and q = -depth for orthographic views: linear in the image on each face.
    The line is where q_0 = q_1. If the nearness of face 0 grows by dq at a fixed point of the image, the line moves out
    of face 0's side by dq / |grad(q_0 - q_1)|. A point of the face that moves by d and z makes dq = dq/dz z - grad q d.
    Faces without area, and those that are nearly in one plane, do not intersect. Segments may be hidden by other faces.
    Ordered as the pairs, then along the line. Not differentiable.

    verts_hom: [N, V, 4] homogeneous pixel coordinates; faces: [F, 3] int64.
    pixel: [Q] int64 (n H + i) W + j; pair: [Q, 2] int64 two faces.
    """
    check_tensors(
        "intersections",
        verts_hom=(verts_hom, "N V 4"),
        faces=(faces, "int64: F 3"),
        pixel=(pixel, "int64: Q"),
        pair=(pair, "int64: Q 2"),
    )
    return Intersections(*run_discrete("intersections", backend, verts_hom, faces, pixel, pair, height, width))
