"""Faces, edge functions and tiles: what the Numba kernels of the discrete ops share. See rasterize/NOTES.md.

The arithmetic is in float64 whatever the input, so that all of them agree to the bit on what a face covers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

TILE = 16
# The largest number that is below 0 even where the processor flushes denormal numbers (torch.set_flush_denormal).
BELOW_ZERO = -2.2250738585072014e-308


class Vertex(NamedTuple):
    """A homogeneous vertex: x w, y w, w, depth."""

    x: float
    y: float
    w: float
    depth: float


class Edge(NamedTuple):
    """The edge function a x + b y + c, non-negative inside the face; a point inside exceeds `bound`.

    depth: of the corner opposite, whose barycentric coordinate it is in proportion to.
    """

    a: float
    b: float
    c: float
    bound: float
    depth: float


class Box(NamedTuple):
    """First and last column and row of some pixels, counted from the corner of a tile."""

    first_x: int
    first_y: int
    last_x: int
    last_y: int


@njit(nogil=True, cache=True, forceinline=True)
def load_vertex(verts, view, vertex):
    """Return one vertex in float64."""
    return Vertex(
        np.float64(verts[view, vertex, 0]),
        np.float64(verts[view, vertex, 1]),
        np.float64(verts[view, vertex, 2]),
        np.float64(verts[view, vertex, 3]),
    )


@njit(nogil=True, cache=True, forceinline=True)
def load_corners(verts, faces, view, face):
    """Return the three vertices of a face."""
    return (
        load_vertex(verts, view, faces[face, 0]),
        load_vertex(verts, view, faces[face, 1]),
        load_vertex(verts, view, faces[face, 2]),
    )


@njit(nogil=True, cache=True, forceinline=True)
def line_through(p, q):
    """Return coefficients (a, b, c) of the line a x + b y + c = 0 through two vertices: their cross product.

    Exchanging the two negates the line to the last bit, which is what makes neighbours watertight.
    """
    return p.y * q.w - p.w * q.y, p.w * q.x - p.x * q.w, p.x * q.y - p.y * q.x


@njit(nogil=True, cache=True, forceinline=True)
def determinant(p, q, r):
    """Return the determinant of three vertices: below 0 if the front is seen, 0 if the face is exactly edge-on."""
    a, b, c = line_through(q, r)
    return p.x * a + p.y * b + p.w * c


@njit(nogil=True, cache=True, forceinline=True)
def inward_edge(p, q, opposite, det):
    """Return the edge from p to q, positive on the side of the corner opposite.

    Points exactly on an edge belong to the face whose left or top edge it is: there the bound is the largest number
    below 0, elsewhere 0.
    """
    a, b, c = line_through(p, q)
    if det < 0:
        a, b, c = -a, -b, -c
    return Edge(a, b, c, BELOW_ZERO if a > 0 or (a == 0 and b > 0) else 0.0, opposite.depth)


@njit(nogil=True, cache=True, forceinline=True)
def inward_edges(p, q, r):
    """Return the edges opposite the corners p, q and r, positive inside."""
    det = determinant(p, q, r)
    return inward_edge(q, r, p, det), inward_edge(r, p, q, det), inward_edge(p, q, r, det)


@njit(nogil=True, cache=True, forceinline=True)
def misses_box(edge, low_x, low_y, high_x, high_y):
    """Return whether all of the box is outside of the edge; evaluated at a point of it, so that rounding hides none."""
    x, y = high_x if edge.a > 0 else low_x, high_y if edge.b > 0 else low_y
    return edge.a * x + (edge.b * y + edge.c) <= edge.bound


@njit(nogil=True, cache=True, forceinline=True)
def corner_of_tile(item, tiles_x, tiles_y):
    """Return (view, left, top): the view and the first pixel of the tile number item, counted over all views."""
    tile = item % (tiles_x * tiles_y)
    return item // (tiles_x * tiles_y), tile % tiles_x * TILE, tile // tiles_x * TILE


@njit(nogil=True, cache=True, forceinline=True)
def box_in_tile(bounds, view, face, left, top):
    """Return the part of a face's pixel bounds [N, F, 4] that is in the tile at (left, top); it may be empty."""
    return Box(
        max(np.int64(bounds[view, face, 0]) - left, 0),
        max(np.int64(bounds[view, face, 1]) - top, 0),
        min(np.int64(bounds[view, face, 2]) - left, TILE - 1),
        min(np.int64(bounds[view, face, 3]) - top, TILE - 1),
    )
