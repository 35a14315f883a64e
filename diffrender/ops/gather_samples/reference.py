"""The list of samples in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.gather_samples.op import Cuts


def forward(
    face_id: Tensor, refined: Tensor, sample_face_id: Tensor, offsets: Tensor, cuts: Cuts
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.gather_samples."""
    height, width = face_id.shape[1:]
    centers = face_id.reshape(-1).clone()
    centers[refined] = -1
    centers[cuts.pixel] = -1
    plain = torch.nonzero(centers >= 0)[:, 0]
    row, column = torch.nonzero(sample_face_id >= 0, as_tuple=True)
    cut, number = torch.nonzero(cuts.face_id >= 0, as_tuple=True)
    pixel = torch.cat([plain, refined[row], cuts.pixel[cut]])
    face = torch.cat([centers[plain], sample_face_id[row, column], cuts.face_id[cut, number]])
    offset = torch.cat([offsets.new_full((len(plain), 2), 0.5), offsets[column], cuts.offsets[cut, number]])
    shares = offsets.new_ones(len(plain)), offsets.new_full((len(row),), 1 / max(1, len(offsets)))
    weight = torch.cat([*shares, cuts.weight[cut, number]])
    order = face.argsort(stable=True)
    order = order[pixel[order].argsort(stable=True)]
    pixel, face, offset, weight = pixel[order], face[order], offset[order], weight[order]
    corner = torch.stack([pixel % width, pixel // width % height], 1)
    return pixel, pixel // (height * width), face, corner + offset, weight
