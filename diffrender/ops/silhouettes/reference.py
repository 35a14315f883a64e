"""Silhouettes in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.silhouettes.op import HIDDEN_MARGIN, SEGMENT_PX


def silhouette_edges(topology: Topology, facing: Tensor, jumps: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (view, edge, side, half-edge) of every edge all of whose faces are on one side of it, or that jumps."""
    corner, offset = topology.edge_corners
    n_edges = len(topology.edges)
    owner = torch.arange(n_edges, device=corner.device).repeat_interleave(offset[1:] - offset[:-1])
    forward = topology.welded_faces.reshape(-1)[corner] == topology.edges[owner, 0]
    front = facing[:, corner // 3].long()
    side = torch.where(forward, -front, front)
    owners = owner.expand_as(side)
    shape = (len(facing), n_edges)
    low = side.new_zeros(shape).scatter_reduce(1, owners, side, "amin", include_self=False)
    high = side.new_zeros(shape).scatter_reduce(1, owners, side, "amax", include_self=False)
    # The first front half-edge of each edge, or the first of all.
    xy = torch.arange(len(corner), device=corner.device).expand_as(side)
    first = torch.where(front > 0, xy, xy + len(corner))
    first = first.new_zeros(shape).scatter_reduce(1, owners, first, "amin", include_self=False) % max(1, len(corner))
    is_listed = low == high if jumps is None else (low == high) | jumps
    view, edge = torch.nonzero(is_listed, as_tuple=True)
    chosen = first[view, edge]
    return view, edge, side[view, chosen], corner[chosen]


def forward(
    verts_hom: Tensor, topology: Topology, facing: Tensor, depth: Tensor, near: float, jumps: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.silhouettes."""
    height, width = depth.shape[1:]
    view, edge, side, half_edge = silhouette_edges(topology, facing, jumps)
    ends = topology.edges[edge]
    p, q = (verts_hom[view, ends[:, i]].double() for i in range(2))
    # Clip at the near plane: perspective-correct parameters t_a, t_b.
    crossing = (near - p[:, 3]) / (q[:, 3] - p[:, 3])
    t_a = torch.where(p[:, 3] < near, crossing, torch.zeros_like(crossing))
    t_b = torch.where((q[:, 3] < near) & (p[:, 3] >= near), crossing, torch.ones_like(crossing))
    a, b = (p[:, :3] + t[:, None] * (q - p)[:, :3] for t in (t_a, t_b))
    in_front = ((p[:, 3] >= near) | (q[:, 3] >= near)) & (a[:, 2] > 0) & (b[:, 2] > 0)
    xy_a, xy_b = a[:, :2] / a[:, 2:], b[:, :2] / b[:, 2:]
    # Clip at the image: screen-space fractions u_a, u_b.
    size = xy_a.new_tensor([width, height])
    step = xy_b - xy_a
    bounds = torch.stack([-xy_a / step, (size - xy_a) / step])
    flat = step == 0
    inside = (xy_a >= 0) & (xy_a <= size)
    u_a = bounds.amin(0).where(~flat, 0.0).amax(1).clamp_min(0)
    u_b = bounds.amax(0).where(~flat, 1.0).amin(1).clamp_max(1)
    drawn = in_front & (inside | ~flat).all(1) & (u_b > u_a) & xy_a.isfinite().all(1) & xy_b.isfinite().all(1)
    length = step.norm(dim=1) * (u_b - u_a)
    count = torch.where(drawn, (length / SEGMENT_PX).ceil().clamp_min(1), 0).nan_to_num(0, 0, 0).long()

    index = torch.arange(len(count), device=count.device).repeat_interleave(count)
    within = torch.arange(len(index), device=count.device) - (count.cumsum(0) - count).repeat_interleave(count)
    share = ((u_b - u_a) / count)[index]
    u = u_a[index] + (within + 0.5) * share
    w_a, w_b = a[index, 2], b[index, 2]
    t = t_a[index] + (t_b - t_a)[index] * (u * w_a / ((1 - u) * w_b + u * w_a))
    xy = xy_a[index] + u[:, None] * step[index]
    segment_depth = (1 - t) * p[index, 3] + t * q[index, 3]
    outward = torch.stack([step[:, 1], -step[:, 0]], 1)[index]
    normal = outward * (side[index] * share)[:, None]

    column = xy[:, 0].floor().long().clamp(0, width - 1)
    row = xy[:, 1].floor().long().clamp(0, height - 1)
    farthest_near = depth.where(depth > 0, torch.inf)[:, None]
    farthest_near = torch.nn.functional.max_pool2d(farthest_near, 3, 1, 1)[:, 0]
    keep = ~(farthest_near[view[index], row, column] < segment_depth * (1 - HIDDEN_MARGIN))

    face = half_edge[index] // 3
    corner = half_edge[index] % 3
    following = (corner + 1) % 3
    starts_at_v0 = topology.welded_faces[face, corner] == ends[index, 0]
    along = torch.where(starts_at_v0, t, 1 - t)
    bary = torch.zeros(len(index), 3, dtype=t.dtype, device=t.device)
    bary = bary.scatter(1, corner[:, None], (1 - along)[:, None]).scatter(1, following[:, None], along[:, None])
    pixel = (view[index] * height + row) * width + column
    bary, normal = bary[keep].to(verts_hom.dtype), normal[keep].to(verts_hom.dtype)
    return pixel[keep], face[keep], bary, xy[keep], normal, segment_depth[keep], edge[index[keep]]
