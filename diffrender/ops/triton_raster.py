"""Faces and edge functions: what the Triton kernels of the discrete ops share. See rasterize/NOTES.md.

The arithmetic is in float64 whatever the input, and in the order of ../numba_raster.py. Kernels that decide with it are
launched with **EXACT, so that they agree with the other implementations to the bit. A vertex is (x w, y w, w, depth);
an edge is (a, b, c, bound, depth): the function a x + b y + c, non-negative inside the face, where it exceeds `bound`,
and the depth of the corner opposite. Each number is one per lane, or one for all. A camera's smallest depth is passed
as `near: tl.float64`: without the annotation Triton rounds it to float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

# A fused multiply-add rounds once where the other implementations round twice.
EXACT = {"enable_fp_fusion": False}
# The largest number below 0 that is not denormal.
BELOW_ZERO = tl.constexpr(-2.2250738585072014e-308)


@triton.jit
def load_vertex(verts, at, here):
    """Return vertices in float64; `at` (int64) counts them over all views."""
    first = verts + 4 * at
    x = tl.load(first, here, other=0).to(tl.float64)
    y = tl.load(first + 1, here, other=0).to(tl.float64)
    w = tl.load(first + 2, here, other=0).to(tl.float64)
    depth = tl.load(first + 3, here, other=0).to(tl.float64)
    return x, y, w, depth


@triton.jit
def load_corners(verts, faces, n_verts, view, face, here):
    """Return the three vertices of faces (view and face int64)."""
    first, corner = view * n_verts, faces + 3 * face
    a = load_vertex(verts, first + tl.load(corner, here, other=0), here)
    b = load_vertex(verts, first + tl.load(corner + 1, here, other=0), here)
    c = load_vertex(verts, first + tl.load(corner + 2, here, other=0), here)
    return a, b, c


@triton.jit
def line_through(p, q):
    """Return coefficients (a, b, c) of the line a x + b y + c = 0 through two vertices: their cross product.

    Exchanging the two negates the line to the last bit, which is what makes neighbours watertight.
    """
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@triton.jit
def determinant(p, q, r):
    """Return the determinant of three vertices: below 0 if the front is seen, 0 if the face is exactly edge-on."""
    a, b, c = line_through(q, r)
    return p[0] * a + p[1] * b + p[2] * c


@triton.jit
def inward_edge(p, q, opposite, det):
    """Return the edge from p to q, positive on the side of the corner opposite.

    Points exactly on an edge belong to the face whose left or top edge it is: there the bound is just below 0,
    elsewhere 0.
    """
    a, b, c = line_through(p, q)
    flipped = det < 0
    a, b, c = tl.where(flipped, -a, a), tl.where(flipped, -b, b), tl.where(flipped, -c, c)
    bound = tl.where((a > 0) | ((a == 0) & (b > 0)), BELOW_ZERO, 0.0)
    return a, b, c, bound, opposite[3]


@triton.jit
def inward_edges(p, q, r):
    """Return the edges opposite the corners p, q and r, positive inside."""
    det = determinant(p, q, r)
    return inward_edge(q, r, p, det), inward_edge(r, p, q, det), inward_edge(p, q, r, det)


@triton.jit
def edge_values(edges, x, y):
    """Return the three edge functions at points; in proportion to barycentric coordinates."""
    e, f, g = edges
    return e[0] * x + (e[1] * y + e[2]), f[0] * x + (f[1] * y + f[2]), g[0] * x + (g[1] * y + g[2])


@triton.jit
def is_inside(edges, values):
    """Return whether the face covers the points where its edge functions have these values."""
    return (values[0] > edges[0][3]) & (values[1] > edges[1][3]) & (values[2] > edges[2][3])


@triton.jit
def depth_of(edges, values):
    """Return camera depth where the edge functions have these values: NaN where all three vanish."""
    return (values[0] * edges[0][4] + values[1] * edges[1][4] + values[2] * edges[2][4]) / (
        values[0] + values[1] + values[2]
    )


@triton.jit
def misses_box(edge, low_x, low_y, high_x, high_y):
    """Return whether all of the box is outside of the edge; evaluated at a point of it, so that rounding hides none."""
    x, y = tl.where(edge[0] > 0, high_x, low_x), tl.where(edge[1] > 0, high_y, low_y)
    return edge[0] * x + (edge[1] * y + edge[2]) <= edge[3]
