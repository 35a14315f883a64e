"""Which faces of different parts may pass through one another, and in which pixels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.rasterize import Raster
from diffrender.render.edge_models.contacts import functions_of

# Pairs that are looked at together, and faces of views; of pairs there may be many times as many as of faces.
CHUNK = 4_000_000
# By what share of itself the nearness of a face is uncertain.
ROUNDING = 1e-9


def meeting_pairs(
    verts_hom: Tensor,
    topology: Topology,
    raster: Raster,
    pixel: Tensor,
    sample_face_id: Tensor,
    borders: Tensor,
    shows_backs: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pixels [Q], ascending, and pairs of faces [Q, 2] of different parts that may intersect there, some at once.

    Pixels are those whose samples sample_face_id [R, S] see several parts, of `pixel` [R], and the eight around each: a
    line may pass through the corner of a pixel between its samples; and `borders` [B], at whose sides other parts may
    begin. Pairs are all that span the pixel at the same
    nearness (ops.intersections), whether samples see them or not: many faces are smaller than the samples' distance.
    shows_backs: whether faces that are turned away can be seen, and so count.
    """
    size = (raster.face_id.shape[1], raster.face_id.shape[2])
    part = topology.face_component[sample_face_id.clamp_min(0)]
    is_seen = sample_face_id >= 0
    lowest, highest = part.where(is_seen, topology.n_components).amin(1), part.where(is_seen, -1).amax(1)
    around = torch.unique(torch.cat([pixels_around(pixel[lowest < highest], size), borders]))
    is_some = raster.bins.facing >= (-1 if shows_backs else 1)
    view, face, at = faces_in_pixels(raster.bins.bounds, is_some, around, size)
    index, at, low, high = spans_in_pixels(verts_hom, topology.faces, view, face, at, around, size)
    face = face[index]

    # In each pixel by `low`: those that a face may meet follow it at once, as far as their `low` is below its `high`.
    by_low = low.argsort(stable=True)
    rank = torch.empty_like(by_low)
    rank[by_low] = torch.arange(len(rank), device=rank.device)
    beyond = torch.searchsorted(low[by_low], high, right=True)
    key, order = (at * (len(rank) + 1) + rank).sort()
    at, face, beyond = at[order], face[order], beyond[order]
    place = torch.arange(len(key), device=key.device)
    count = torch.searchsorted(key, at * (len(rank) + 1) + beyond) - place - 1
    ends = count.cumsum(0)
    own = topology.face_component[face]
    if len(count) == 0:
        yield around[:0], face.new_empty(0, 2)
    start = 0
    while start < len(count):
        done = ends[start] - count[start]
        stop = max(start + 1, int(torch.searchsorted(ends, done + CHUNK, right=True)))
        some = slice(start, stop)
        first = place[some].repeat_interleave(count[some])
        offset = (ends - count)[some].repeat_interleave(count[some]) - done
        second = first + 1 + torch.arange(len(first), device=at.device) - offset
        pair = torch.stack([first, second], 1)[own[first] != own[second]]
        yield around[at[pair[:, 0]]], face[pair].sort(1).values
        start = stop


def pixels_around(pixel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pixels (n H + i) W + j and the eight around each, ascending, each once."""
    height, width = size
    step = torch.tensor([-1, 0, 1], device=pixel.device)
    row = (pixel // width % height)[:, None, None] + step[:, None]
    column = (pixel % width)[:, None, None] + step
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.unique((pixel[:, None, None] + step[:, None] * width + step)[inside])


def faces_in_pixels(
    bounds: Tensor, is_some: Tensor, pixel: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (view, face, index) of each of the ascending pixels in the bounds [N, F, 4] of each face of `is_some`."""
    height, width = size
    n_views, n_faces = bounds.shape[:2]
    # How many of the pixels are above and left of a corner: four of them tell how many are in bounds.
    sums = torch.zeros(n_views, height + 1, width + 1, dtype=torch.int32, device=bounds.device)
    sums[pixel // (height * width), pixel // width % height + 1, pixel % width + 1] = 1
    sums = sums.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    some = max(1, CHUNK // max(1, n_faces))
    parts = [
        _with_any(sums[k : k + some], bounds[k : k + some], is_some[k : k + some]) + k * n_faces
        for k in range(0, n_views, some)
    ]
    item = torch.cat(parts) if parts else pixel.new_empty(0)
    left, top, right, bottom = (bounds.reshape(-1, 4)[item].long() + bounds.new_tensor([0, 0, 1, 1])).unbind(1)
    # Row by row, since of the pixels in the bounds of a large face few are among these.
    rows = bottom - top
    each = torch.arange(len(item), device=item.device).repeat_interleave(rows)
    row = top[each] + torch.arange(len(each), device=item.device) - (rows.cumsum(0) - rows)[each]
    start = ((item[each] // n_faces) * height + row) * width
    first = torch.searchsorted(pixel, start + left[each])
    count = torch.searchsorted(pixel, start + right[each]) - first
    one = torch.arange(len(count), device=count.device).repeat_interleave(count)
    at = first[one] + torch.arange(len(one), device=one.device) - (count.cumsum(0) - count)[one]
    item = item[each[one]]
    return item // n_faces, item % n_faces, at


def _with_any(sums: Tensor, bounds: Tensor, is_some: Tensor) -> Tensor:
    """Return which of the flattened bounds [N, F, 4], if is_some, hold any of what sums [N, H + 1, W + 1] counts."""
    width = sums.shape[2]
    left, top, right, bottom = (bounds.long() + bounds.new_tensor([0, 0, 1, 1])).unbind(2)
    of_view = torch.arange(len(sums), device=sums.device)[:, None] * sums[0].numel()
    low, high, flat = of_view + top * width, of_view + bottom * width, sums.reshape(-1)
    count = flat[high + right] - flat[high + left] - flat[low + right] + flat[low + left]
    return torch.nonzero(((count > 0) & is_some).reshape(-1))[:, 0]


def spans_in_pixels(
    verts_hom: Tensor, faces: Tensor, view: Tensor, face: Tensor, at: Tensor, pixel: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return which of I faces lie in pixel[at], [K], those pixels' `at`, and their least and greatest nearness there.

    Faces may still miss the pixel at a corner, and span less of it.
    """
    height, width = size
    item, which = torch.unique(view * len(faces) + face, return_inverse=True)
    view, face = item // len(faces), item % len(faces)
    lines, det = functions_of(verts_hom, faces, view, face)
    corners = torch.stack([pixel[at] % width, pixel[at] // width % height], 1).double()
    # At the corner of the pixel that is farthest inside of each edge.
    ahead = (lines[..., :2] > 0).double()
    inside = ((corners[:, None] + ahead[which]) * lines[which, :, :2]).sum(2) + lines[which, :, 2] >= 0
    index = torch.nonzero(inside.all(1))[:, 0]
    which, center = which[index], corners[index] + 0.5

    corner_depth = verts_hom[view[:, None], faces[face], 3].double()
    is_perspective = (verts_hom[..., 2] == verts_hom[..., 3]).all(1)[view][:, None]
    share = torch.where(is_perspective, 1.0, -corner_depth) / det.abs()[:, None]
    plane = (share[:, :, None] * lines).sum(1)
    middle = (center * plane[which, :2]).sum(1) + plane[which, 2]
    reach = plane[which, :2].abs().sum(1) / 2
    nearness = torch.where(is_perspective, 1 / corner_depth, -corner_depth)
    is_before = ~is_perspective[:, 0] | (corner_depth > 0).all(1)
    least = nearness.amin(1).where(is_before, -torch.inf)[which]
    most = nearness.amax(1).where(is_before, torch.inf)[which]
    low, high = torch.maximum(middle - reach, least), torch.minimum(middle + reach, most)
    slack = ROUNDING * torch.maximum(low.abs(), high.abs())
    low, high = low - slack, high + slack
    kept = torch.nonzero(low <= high)[:, 0]  # none of a face so thin that nothing is left of its area
    index = index[kept]
    return index, at[index], low[kept], high[kept]
