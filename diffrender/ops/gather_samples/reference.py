"""The list of samples in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.gather_samples.op import Samples


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, share: Tensor, added: Samples
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    height, width = face_id.shape[1:]
    centers = face_id.reshape(-1).clone()
    centers[refined] = -1
    plain = torch.nonzero(centers >= 0)[:, 0]
    # Samples of one face in one quarter of a pixel are one.
    row, column = torch.nonzero(sample_face_id >= 0, as_tuple=True)
    quarter = (offsets[:, 0] >= 0.5).long() + 2 * (offsets[:, 1] >= 0.5).long()
    where = torch.stack([refined[row], sample_face_id[row, column], quarter[column]], 1)
    where, group = torch.unique(where, dim=0, return_inverse=True)
    each = torch.stack([share.new_ones(len(group)), share[row, column], *offsets[column].T], 1).double()
    sums = each.new_zeros(len(where), 4).index_add_(0, group, each)

    pixel = torch.cat([plain, where[:, 0]])
    offset = torch.cat([sums.new_full((len(plain), 2), 0.5), sums[:, 2:] / sums[:, :1]])
    xy = (torch.stack([pixel % width, pixel // width % height], 1) + offset).to(offsets.dtype)
    weight = torch.cat([sums.new_ones(len(plain)), sums[:, 1]]).to(share.dtype)
    pixel = torch.cat([pixel, added.pixel])
    order = pixel.argsort(stable=True)
    face = torch.cat([centers[plain], where[:, 1], added.face_id])[order]
    xy, weight = torch.cat([xy, added.xy_px])[order], torch.cat([weight, added.weight])[order]
    return pixel[order], pixel[order] // (height * width), face, xy, weight
