"""Pairs of faces and sample points that could meet: what the plain PyTorch references of the discrete ops share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.ops.rasterize.op import AROUND_CENTER

# Face-sample pairs that are tested at a time; bounds the memory.
CHUNK = 2_000_000


class EdgeFunctions(NamedTuple):
    """Of each face of each view: lines [N, F, 3 (edge), 3 (A, B, C)], non-negative inside, and determinant [N, F]."""

    lines: Tensor
    det: Tensor


def edge_functions(verts_hom: Tensor, faces: Tensor) -> EdgeFunctions:
    """Return the lines opposite the corners of each face, oriented to be non-negative inside, in float64."""
    corners = verts_hom.double()[:, faces.reshape(-1), :3].reshape(len(verts_hom), len(faces), 3, 3)
    a, b, c = corners.unbind(2)

    def line(p: Tensor, q: Tensor) -> Tensor:
        # Written out: a fused multiply-add inside a library's cross product would break the exact antisymmetry.
        return torch.stack(
            [
                p[..., 1] * q[..., 2] - p[..., 2] * q[..., 1],
                p[..., 2] * q[..., 0] - p[..., 0] * q[..., 2],
                p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0],
            ],
            -1,
        )

    lines = torch.stack([line(b, c), line(c, a), line(a, b)], 2)
    det = (a * lines[:, :, 0]).sum(-1)
    return EdgeFunctions(torch.where(det[..., None, None] < 0, -lines, lines), det)


def bound_faces(
    verts_hom: Tensor, faces: Tensor, det: Tensor, near: float, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return first and last column and row [N, F, 4] int16 of the pixels that each face, clipped at near, may touch.

    Also of those whose centres it may cover.
    """
    verts = verts_hom.double()
    p = verts[:, faces.reshape(-1)].reshape(len(verts), len(faces), 3, 4)
    q = p.roll(-1, 2)
    t = (near - p[..., 3]) / (q[..., 3] - p[..., 3])
    crossing = p + t[..., None].nan_to_num(0, 0, 0) * (q - p)
    crosses = (p[..., 3] >= near) != (q[..., 3] >= near)
    points = torch.cat([p, crossing], 2)
    valid = torch.cat([p[..., 3] >= near, crosses], 2) & (points[..., 2] > 0)
    xy = points[..., :2] / points[..., 2:3]
    low = xy.where(valid[..., None], torch.inf).amin(2)
    high = xy.where(valid[..., None], -torch.inf).amax(2)
    size = low.new_tensor([width, height])
    drawn = (det.abs() > 0) & det.isfinite() & (high >= 0).all(-1) & (low < size).all(-1)
    touched = torch.cat([low.clamp_min(0).floor(), torch.minimum(high, size - 1).floor()], -1)
    first = (low - AROUND_CENTER).clamp_min(0).ceil()
    last = torch.minimum(high - 1 + AROUND_CENTER, size - 1).floor()
    empty = low.new_tensor([0, 0, -1, -1])
    touched, covered = (box.where(drawn[..., None], empty) for box in (touched, torch.cat([first, last], -1)))
    return touched.to(torch.int16), covered.to(torch.int16)


def face_pixel_pairs(bounds: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return (view, face, row, column) of every pixel in every face's bounds [N, F, 4], in chunks."""
    n_faces = bounds.shape[1]
    columns = (bounds[..., 2].long() - bounds[..., 0] + 1).reshape(-1)
    rows = (bounds[..., 3].long() - bounds[..., 1] + 1).reshape(-1)
    counts = columns * rows
    ends = counts.cumsum(0)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else ends.new_zeros(())
        end = max(start + 1, int(torch.searchsorted(ends, done + CHUNK, right=True)))
        count = counts[start:end]
        item = torch.arange(start, end, device=bounds.device).repeat_interleave(count)
        within = torch.arange(len(item), device=bounds.device) - (count.cumsum(0) - count).repeat_interleave(count)
        view, face = item // n_faces, item % n_faces
        row = within // columns[item] + bounds[view, face, 1].long()
        column = within % columns[item] + bounds[view, face, 0].long()
        yield view, face, row, column
        start = end


def covers(functions: EdgeFunctions, view: Tensor, face: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether (x, y) is inside the face, by the top-left rule, and its three edge functions there [..., 3]."""
    lines = functions.lines[view, face]
    values = lines[..., 0] * x[..., None] + (lines[..., 1] * y[..., None] + lines[..., 2])
    owns = (lines[..., 0] > 0) | ((lines[..., 0] == 0) & (lines[..., 1] > 0))
    return ((values > 0) | ((values == 0) & owns)).all(-1), values


def depth_of(verts_hom: Tensor, faces: Tensor, view: Tensor, face: Tensor, values: Tensor) -> Tensor:
    """Return camera depth where the edge functions have these values."""
    corner_depth = verts_hom[..., 3].double()[view[..., None], faces[face]]
    return (values * corner_depth).sum(-1) / values.sum(-1)


def share_of_nearness(verts: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of I views are perspective [I] and by what [I, 2, 3] edge functions / det add up to nearness.

    Nearness is as in ops.intersections; verts [I, 2, 3, 4] are the corners of a pair of faces of each view.
    """
    # Of both: a face of an orthographic view may happen to be at depth 1, which is its w.
    is_perspective = (verts[..., 2] == verts[..., 3]).all(-1).all(-1)
    return is_perspective, torch.where(is_perspective[:, None, None], torch.ones_like(verts[..., 3]), -verts[..., 3])


def nearest(group: Tensor, depth: Tensor, face: Tensor, layers: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the `layers` nearest entries per group, ties to the lower face: (index into the input, group, rank)."""
    order = face.argsort(stable=True)
    order = order[depth[order].argsort(stable=True)]
    order = order[group[order].argsort(stable=True)]
    sorted_group = group[order]
    first = torch.searchsorted(sorted_group, sorted_group)
    rank = torch.arange(len(order), device=order.device) - first
    kept = rank < layers
    return order[kept], sorted_group[kept], rank[kept]
