"""The antialiased image in plain PyTorch; silhouettes enter as a term that is zero but has the right derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.antialias.op import LEAST_W, VisibleSegments


def forward(
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
) -> Tensor:
    """See op.antialias."""
    n_views, height, width = size
    samples = torch.cat([radiance, torch.ones_like(radiance[:, :1])], 1)
    image = samples.new_zeros(n_views * height * width, samples.shape[1])
    image = image.index_add(0, pixel, samples * weight[:, None])

    view = segments.pixel // (height * width)
    corners = verts_hom[view[:, None], faces[segments.face]]
    terms = corners * segments.bary[:, :, None]
    middle = terms.sum(1)
    w = middle[:, 2:3]
    is_sound = w > LEAST_W * terms[:, :, 2].abs().sum(1, keepdim=True)
    xy = middle[:, :2] / w.where(is_sound, 1)
    moved, risen = xy - xy.detach(), middle[:, 3] - middle[:, 3].detach()
    area = (moved * segments.normal_px).sum(1) + risen * segments.depth_weight
    image = image.index_add(0, segments.pixel, jump.detach() * area[:, None].where(is_sound, 0))
    color, coverage = image[:, :-1], image[:, -1:]
    bare = (1 - coverage).detach()  # what the segments' motion does to the background is part of `jump`
    return torch.cat([color + bare * background, coverage], 1).reshape(n_views, height, width, -1)
