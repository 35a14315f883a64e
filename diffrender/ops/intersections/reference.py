"""Lines of intersection in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.intersections.op import LEAST_STEEPNESS, MOST_SEGMENTS, SEGMENT_PX, SIDE_PX, TOUCHING_PX
from diffrender.ops.reference_raster import edge_functions, share_of_nearness


def forward(
    verts_hom: Tensor, faces: Tensor, pixel: Tensor, pair: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.intersections."""
    corners = faces[pair]
    view = pixel // (height * width)
    center = torch.stack([pixel % width, pixel // width % height], 1) + 0.5

    lines, det = edge_functions(verts_hom, faces)
    lines, det = lines[view[:, None], pair], det[view[:, None], pair].abs()  # [I, 2, 3, 3], [I, 2]
    values = lines[..., 0] * center[:, None, None, 0] + lines[..., 1] * center[:, None, None, 1] + lines[..., 2]
    verts = verts_hom.double()[view[:, None, None], corners]
    is_perspective, share = share_of_nearness(verts)
    slope = (lines[..., :2] * share[..., None]).sum(2) / det[..., None]  # gradient of nearness, [I, 2, 2]
    nearness = (values * share).sum(2) / det

    across = slope[:, 0] - slope[:, 1]
    steepness = across.norm(dim=1)
    foot = -(nearness[:, 0] - nearness[:, 1])[:, None] * across / steepness[:, None] ** 2  # from the pixel's centre
    along = torch.stack([-across[:, 1], across[:, 0]], 1) / steepness[:, None]
    # The line foot + t along, inside the pixel and both faces: each bound says start + t rate >= 0.
    sides = [0.5 - SIDE_PX - foot, 0.5 + SIDE_PX + foot]
    start = torch.cat([*sides, (values + (lines[..., :2] * foot[:, None, None]).sum(-1)).flatten(1)], 1)
    rate = torch.cat([-along, along, (lines[..., :2] * along[:, None, None]).sum(-1).flatten(1)], 1)
    bound = -start / rate
    low = bound.where(rate > 0, -torch.inf).amax(1)
    high = bound.where(rate < 0, torch.inf).amin(1)
    possible = (steepness > LEAST_STEEPNESS * nearness[:, 0].abs()) & (high > low)
    possible &= ~((rate == 0) & (start < 0)).any(1) & (high - low <= MOST_SEGMENTS * SEGMENT_PX)
    # Both ends near one edge: the faces only touch.
    ends = start[:, 4:, None] + rate[:, 4:, None] * torch.stack([low, high], 1)[:, None]
    is_near = ends.abs() <= TOUCHING_PX * lines[..., :2].flatten(1, 2).norm(dim=-1)[..., None]
    possible &= ~is_near.all(-1).any(-1)
    pixel, pair, center = pixel[possible], pair[possible], center[possible]
    low, high, foot, along = low[possible], high[possible], foot[possible], along[possible]
    across, steepness, slope = across[possible], steepness[possible], slope[possible]
    lines, verts, is_perspective = lines[possible], verts[possible], is_perspective[possible]

    count = ((high - low) / SEGMENT_PX).ceil().clamp_min(1).long()
    index = torch.arange(len(count), device=count.device).repeat_interleave(count)
    within = torch.arange(len(index), device=count.device) - (count.cumsum(0) - count)[index]
    length = ((high - low) / count)[index]
    xy = center[index] + foot[index] + (low[index] + (within + 0.5) * length)[:, None] * along[index]
    values = (lines[index, ..., :2] * xy[:, None, None]).sum(-1) + lines[index, ..., 2]
    bary = values / values.sum(-1, keepdim=True)
    depth = (bary * verts[index, ..., 3]).sum(-1)
    sound = depth.isfinite().all(1)  # not so where a face is so thin that nothing is left of its area
    index, length, xy, bary, depth = index[sound], length[sound], xy[sound], bary[sound], depth[sound]
    reach = length / steepness[index]  # area swept by a unit of nearness
    fall = torch.where(is_perspective[index, None], depth**-2, torch.ones_like(depth))  # of nearness with depth
    normal = -slope[index] * reach[:, None, None]
    bary, normal, depth_weight = (value.to(verts_hom.dtype) for value in (bary, normal, -fall * reach[:, None]))
    return pixel[index], pair[index], bary, xy, depth[:, 0], normal, depth_weight
