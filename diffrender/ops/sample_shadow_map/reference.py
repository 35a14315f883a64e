"""Shadows in plain PyTorch; silhouettes enter as a term that is zero but has the right derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.antialias.op import LEAST_W
from diffrender.ops.sample_shadow_map.op import Occluders


def forward(
    map_depth: Tensor,
    map_id: Tensor,
    xy_px: Tensor,
    depth: Tensor,
    slope: Tensor,
    bias: Tensor,
    radius: int,
    occluders: Occluders,
    verts_hom: Tensor,
    faces: Tensor,
) -> Tensor:
    """See op.sample_shadow_map."""
    _, height, width = map_depth.shape
    visible = torch.zeros_like(depth)
    # Points outside of the map by more than the tent see nothing of it, nor does one that is not a number.
    near = ((xy_px > -radius) & (xy_px < max(height, width) + radius)).all(1)
    xy_px = xy_px.where(near[:, None], -float(radius))
    # The first texel whose centre is within the tent, and 2 radius of them each way.
    first = (xy_px.detach() - radius - 0.5).floor().long() + 1
    for row in range(2 * radius):
        for column in range(2 * radius):
            j, i = first[:, 0] + column, first[:, 1] + row
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            seen = map_depth[map_id, i.clamp(0, height - 1), j.clamp(0, width - 1)]
            offset = torch.stack([j, i], 1) + 0.5 - xy_px
            plane = depth + (slope * offset.detach()).sum(1)
            is_lit = ~inside | (seen + bias >= plane)
            visible = visible + _tent(offset, radius).where(is_lit, 0)
    return visible - _swept(
        map_id, xy_px.detach(), depth, slope, bias, radius, occluders, verts_hom, faces, height, width
    )


def _swept(
    map_id: Tensor,
    xy_px: Tensor,
    depth: Tensor,
    slope: Tensor,
    bias: Tensor,
    radius: int,
    occluders: Occluders,
    verts_hom: Tensor,
    faces: Tensor,
    height: int,
    width: int,
) -> Tensor:
    """Return [M] zero; its derivative by verts_hom is what the segments' motion takes from each point."""
    view = occluders.pixel // (height * width)
    terms = verts_hom[view[:, None], faces[occluders.face]] * occluders.bary[:, :, None]
    middle = terms.sum(1)
    w = middle[:, 2:3]
    is_sound = w > LEAST_W * terms[:, :, 2].abs().sum(1, keepdim=True)
    middle_px = middle[:, :2] / w.where(is_sound, 1)
    area = ((middle_px - middle_px.detach()) * occluders.normal_px).sum(1).where(is_sound[:, 0], 0)

    # The segments in each texel, as a list of lists.
    n_texels = len(verts_hom) * height * width
    start = torch.searchsorted(occluders.pixel.contiguous(), torch.arange(n_texels + 1, device=view.device))
    first = (xy_px - radius).floor().long()
    total = torch.zeros_like(depth)
    for row in range(2 * radius + 1):
        for column in range(2 * radius + 1):
            j, i = first[:, 0] + column, first[:, 1] + row
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            texel = ((map_id * height + i) * width + j).where(inside, 0)
            count = (start[texel + 1] - start[texel]).where(inside, 0)
            point = torch.arange(len(depth), device=view.device).repeat_interleave(count)
            rank = torch.arange(len(point), device=view.device) - (count.cumsum(0) - count)[point]
            segment = start[texel[point]] + rank
            offset = middle_px.detach()[segment] - xy_px[point]
            plane = depth[point] + (slope[point] * offset).sum(1) - bias[point]
            darker = (occluders.front[segment] < plane).to(depth.dtype) - (occluders.outside[segment] < plane).to(
                depth.dtype
            )
            total = total.index_add(0, point, _tent(offset, radius) * darker * area[segment])
    return total


def _tent(offset: Tensor, radius: int) -> Tensor:
    """Return [Q] of offsets [Q, 2] in texels: a square pyramid over 2 radius texels each way, of volume 1."""
    return (1 - offset.abs() / radius).clamp_min(0).prod(1) / radius**2
