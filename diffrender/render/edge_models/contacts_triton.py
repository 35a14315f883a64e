"""Which silhouette segments of one surface are seen where it touches itself, on CUDA: no list, no host synchronisation.

As in contacts.py, for meshes of one part: three launches and a query, where PyTorch takes 150. Decisions in float64.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.query_visibility.triton_cuda import forward as query_visibility
from diffrender.ops.rasterize import Raster
from diffrender.ops.supersample_silhouettes import OUTSIDE_PX, TOUCHING_PX, AntialiasPlan
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import EXACT, line_through, load_corners, load_vertex

BLOCK, WIDE_BLOCK = 128, 512
# Bits of what is known of a view: it draws vertices, it leaves some out.
DRAWN, LEFT_OUT = tl.constexpr(1), tl.constexpr(2)


@triton.jit(do_not_specialize=["per_view", "n_verts", "n_faces"])
def look_around(verts, faces, flags, volume, per_view, n_verts, n_faces, near: tl.float64, BLOCK: tl.constexpr):
    """Note of each view whether the near plane runs between vertices, and the volume times six that faces enclose.

    A lane for each vertex of each view, per_view programs each, and for each face in the first.
    """
    view = tl.program_id(0).to(tl.int64) // per_view
    vertex = tl.program_id(0).to(tl.int64) % per_view * BLOCK + tl.arange(0, BLOCK)
    here = vertex < n_verts
    depth = tl.load(verts + 4 * (view * n_verts + vertex) + 3, here, other=0).to(tl.float64)
    is_drawn = tl.max((here & (depth > near)).to(tl.int32), 0)
    is_left_out = tl.max((here & ((depth > near) == 0)).to(tl.int32), 0)
    tl.atomic_or(flags + view, is_drawn * DRAWN + is_left_out * LEFT_OUT, sem="relaxed")
    item = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    if tl.program_id(0) * BLOCK < n_faces:
        here = item < n_faces
        a, b, c = load_corners(verts, faces, n_verts, tl.zeros_like(item), item, here)
        ox, oy, _, oz = load_vertex(verts, tl.load(faces), True)
        ax, ay, az = a[0] - ox, a[1] - oy, a[3] - oz
        bx, by, bz = b[0] - ox, b[1] - oy, b[3] - oz
        cx, cy, cz = c[0] - ox, c[1] - oy, c[3] - oz
        part = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        tl.atomic_add(volume, tl.sum(tl.where(here, part, 0.0)), sem="relaxed")


@triton.jit
def backs_are_seen(flags, volume, n_views, IS_CLOSED: tl.constexpr, BLOCK: tl.constexpr):
    """Return whether backs of faces may be seen: if the mesh is open, inside out, or cut open by a near plane.

    The same in each of BLOCK lanes.
    """
    first = tl.zeros([BLOCK], tl.int32)
    seen = (tl.load(volume + first) >= 0) == 0
    if not IS_CLOSED:
        seen = first == 0
    view = 0
    while view < n_views:
        seen = seen | (tl.load(flags + view + first) == 3)
        view += 1
    return seen


@triton.jit(do_not_specialize=["n_segments", "n_views", "n_pixels"])
def place_inside(
    pixel, xy, normal, touches, is_border, edge, flags, volume, view_out, xy_out, n_segments, n_views, n_pixels,
    INSIDE: tl.constexpr, IS_CLOSED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write view and place of the point just inside of each segment; view -1 where it need not be looked at."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n_segments
    border = tl.load(is_border + tl.load(edge + p, here, other=0), here, other=0) != 0
    unsure = (tl.load(touches + p, here, other=0) != 0) | border
    unsure = unsure | backs_are_seen(flags, volume, n_views, IS_CLOSED, BLOCK)
    nx = tl.load(normal + 2 * p, here, other=0).to(tl.float64)
    ny = tl.load(normal + 2 * p + 1, here, other=0).to(tl.float64)
    length = tl.sqrt(nx * nx + ny * ny)
    unsure = unsure & (length > 0)
    length = tl.maximum(length, 1e-12)
    tl.store(view_out + p, tl.where(unsure, tl.load(pixel + p, here, other=0) // n_pixels, -1), here)
    tl.store(xy_out + 2 * p, tl.load(xy + 2 * p, here, other=0) - INSIDE * (nx / length), here)
    tl.store(xy_out + 2 * p + 1, tl.load(xy + 2 * p + 1, here, other=0) - INSIDE * (ny / length), here)


@triton.jit
def ends_at_silhouette(
    verts, faces, welded, facing, edges, edge_of_corner, corner, offset, face, view, x, y, n_verts, n_faces, here,
    TOUCHING: tl.constexpr,
):  # fmt: skip
    """Return whether each face has a silhouette of its own through a point of its image."""
    a, b, c = load_corners(verts, faces, n_verts, view, face, here)
    ends = here != here
    for k in tl.static_range(3):
        p, q = (b, c) if k == 0 else ((c, a) if k == 1 else (a, b))
        gx, gy, rest = line_through(p, q)
        is_near = here & (tl.abs(gx * x + gy * y + rest) <= TOUCHING * tl.sqrt(gx * gx + gy * gy))
        # The edge opposite corner k leaves from corner k + 1.
        edge = tl.load(edge_of_corner + 3 * face + (k + 1) % 3, is_near, other=0)
        start = tl.load(edges + 2 * edge, is_near, other=0)
        entry, end = tl.load(offset + edge, is_near, other=0), tl.load(offset + edge + 1, is_near, other=0)
        low, high = tl.full(entry.shape, 1, tl.int32), tl.full(entry.shape, -1, tl.int32)
        while tl.max(end - entry, 0) > 0:
            there = entry < end
            half_edge = tl.load(corner + entry, there, other=0)
            front = tl.load(facing + view * n_faces + half_edge // 3, there, other=0).to(tl.int32)
            side = tl.where(tl.load(welded + half_edge, there, other=0) == start, front, -front)
            low = tl.where(there, tl.minimum(low, side), low)
            high = tl.where(there, tl.maximum(high, side), high)
            entry += 1
        ends = ends | (is_near & (low == high))
    return ends


@triton.jit(do_not_specialize=["n_segments", "n_views", "n_pixels", "n_verts", "n_faces"])
def settle(
    verts, faces, welded, facing, edges, edge_of_corner, corner, offset, is_border, flags, volume,
    pixel, face, bary, normal, xy, edge, touches, face_inside, face_outside, face_out, bary_out, normal_out,
    n_segments, n_views, n_pixels, n_verts, n_faces,
    TOUCHING: tl.constexpr, IS_CLOSED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write face, coordinates and length of each segment: none where it is not seen, half where it parts and enters."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n_segments
    own, inside = tl.load(face + p, here, other=0), tl.load(face_inside + p, here, other=-1)
    of_edge, is_found = tl.load(edge + p, here, other=0), inside >= 0
    start, end = tl.load(edges + 2 * of_edge, here, other=0), tl.load(edges + 2 * of_edge + 1, here, other=0)
    along_start, along_end = tl.zeros([BLOCK], bary.dtype.element_ty), tl.zeros([BLOCK], bary.dtype.element_ty)
    has_start, has_end = here != here, here != here
    for i in tl.static_range(3):
        vertex, share = tl.load(welded + 3 * own + i, here, other=0), tl.load(bary + 3 * p + i, here, other=0)
        along_start += tl.where(vertex == start, share, 0)
        along_end += tl.where(vertex == end, share, 0)
        vertex = tl.load(welded + 3 * inside + i, is_found, other=-1)
        has_start, has_end = has_start | (vertex == start), has_end | (vertex == end)
    has_edge = is_found & has_start & has_end
    turned = has_edge & backs_are_seen(flags, volume, n_views, IS_CLOSED, BLOCK)
    tl.store(face_out + p, tl.where(turned, inside, own), here)
    for i in tl.static_range(3):
        vertex = tl.load(welded + 3 * inside + i, turned, other=-1)
        share = tl.where(vertex == start, along_start, 0) + tl.where(vertex == end, along_end, 0)
        share = tl.where(turned, share, tl.load(bary + 3 * p + i, here, other=0))
        tl.store(bary_out + 3 * p + i, share, here)

    meets = tl.load(touches + p, here, other=0) != 0
    outside = tl.load(face_outside + p, here, other=-1)
    view = tl.load(pixel + p, here, other=0) // n_pixels
    kink = ends_at_silhouette(
        verts, faces, welded, facing, edges, edge_of_corner, corner, offset, outside, view,
        tl.load(xy + 2 * p, here, other=0), tl.load(xy + 2 * p + 1, here, other=0), n_verts, n_faces,
        has_edge & meets & (outside >= 0), TOUCHING,
    )  # fmt: skip
    unsure = meets | (tl.load(is_border + of_edge, here, other=0) != 0)
    factor = tl.where(has_edge | (unsure == 0), tl.where(kink, 0.5, 1.0), 0.0).to(normal.dtype.element_ty)
    for i in tl.static_range(2):
        tl.store(normal_out + 2 * p + i, factor * tl.load(normal + 2 * p + i, here, other=0), here)


def settle_segments(
    verts_hom: Tensor, topology: Topology, raster: Raster, plan: AntialiasPlan, near: float
) -> VisibleSegments:
    """Return contacts.resolve_contacts of a mesh of one part, as many segments: those that are not seen have no length.

    What is outside of them stays as it is.
    """
    verts, faces, welded = verts_hom.contiguous(), topology.faces.contiguous(), topology.welded_faces.contiguous()
    segments, n, (height, width) = plan.segments, len(plan.touches), raster.face_id.shape[1:3]
    n_views, n_verts, n_faces = len(verts), verts.shape[1], len(faces)
    flags = torch.zeros(n_views, dtype=torch.int32, device=verts.device)
    volume = torch.zeros(1, dtype=torch.float64, device=verts.device)
    per_view = max(triton.cdiv(n_verts, WIDE_BLOCK), triton.cdiv(n_faces, n_views * WIDE_BLOCK))
    launch(
        look_around, n_views * per_view, verts, faces, flags, volume, per_view, n_verts, n_faces, near,
        BLOCK=WIDE_BLOCK, **EXACT,
    )  # fmt: skip
    sizes, constants = (n, n_views, height * width), {"IS_CLOSED": topology.is_closed, "BLOCK": BLOCK, **EXACT}
    view, xy, is_border = segments.pixel.new_empty(n), torch.empty_like(plan.xy_px), topology.is_border
    launch(
        place_inside, triton.cdiv(n, BLOCK), segments.pixel, plan.xy_px, segments.normal_px, plan.touches, is_border,
        plan.edge, flags, volume, view, xy, *sizes, INSIDE=OUTSIDE_PX, **constants,
    )  # fmt: skip
    inside, _ = query_visibility(verts, topology.faces, view, xy, height, width, raster.bins, near)
    # A place more, for points that there are none of.
    outside = view.new_full((n + 1,), -1).index_copy_(0, plan.outside.segment, plan.outside.face_id)
    face, bary, normal = (torch.empty_like(part) for part in (segments.face, segments.bary, segments.normal_px))
    launch(
        settle, triton.cdiv(n, BLOCK), verts, faces, welded, raster.bins.facing.contiguous(), topology.edges,
        topology.edge_of_corner, *topology.edge_corners, is_border, flags, volume, segments.pixel, segments.face,
        segments.bary, segments.normal_px, plan.xy_px, plan.edge, plan.touches, inside, outside, face, bary, normal,
        *sizes, n_verts, n_faces, TOUCHING=TOUCHING_PX, **constants,
    )  # fmt: skip
    return segments._replace(face=face, bary=bary, normal_px=normal)
