"""List the samples that an image is made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.backend import implementation


class Samples(NamedTuple):
    """M samples of an image that see a surface, ordered by pixel, in a pixel by face.

    pixel: [M] int64 (n H + i) W + j.
    view: [M] int64 n.
    face_id: [M] int64.
    xy_px: [M, 2] (x, y) in pixels.
    weight: [M] share of the pixel.
    """

    pixel: Tensor
    view: Tensor
    face_id: Tensor
    xy_px: Tensor
    weight: Tensor


class Cuts(NamedTuple):
    """C pixels that a silhouette cuts in two, which have K samples of different weight.

    pixel: [C] int64 (n H + i) W + j, ascending; none of them is refined.
    face_id: [C, K] int64 what the samples see, -1 for nothing.
    offsets: [C, K, 2] where in its pixel each sample is, (x, y) in 0..1. weight: [C, K] share of the pixel.
    """

    pixel: Tensor
    face_id: Tensor
    offsets: Tensor
    weight: Tensor


def gather_samples(
    face_id: Tensor,
    refined: Tensor,
    sample_face_id: Tensor,
    offsets: Tensor,
    cuts: Cuts | None = None,
    *,
    backend: str | None = None,
) -> Samples:
    """List a sample at the centre of covered plain pixels, and those that are covered in refined and in cut pixels.

    A sample at a centre has weight 1, one of S has 1 / S; what sees no face is not listed. Not differentiable.

    face_id: [N, H, W] int64 what pixel centres see, -1 for nothing.
    refined: [R] int64 (n H + i) W + j, ascending.
    sample_face_id: [R, S] int64 what the samples in refined pixels see, -1 for nothing.
    offsets: [S, 2] where in its pixel each sample is, (x, y) in 0..1; its dtype is that of the result.
    cuts: the pixels that are cut in two; None: there are none.
    """
    if cuts is None:
        none = face_id.new_zeros(0)
        cuts = Cuts(none, none.reshape(0, 3), offsets.new_zeros(0, 3, 2), offsets.new_zeros(0, 3))
    check_tensors(
        "gather_samples",
        face_id=(face_id, "int64: N H W"),
        refined=(refined, "int64: R"),
        offsets=(offsets, "S 2"),
        sample_face_id=(sample_face_id, "int64: R S"),
        **{
            "cuts.pixel": (cuts.pixel, "int64: C"),
            "cuts.face_id": (cuts.face_id, "int64: C K"),
            "cuts.offsets": (cuts.offsets, "C K 2"),
            "cuts.weight": (cuts.weight, "C K"),
        },
    )
    _, module = implementation("gather_samples", face_id.device, backend)
    with torch.no_grad():
        return Samples(*module.forward(face_id, refined, sample_face_id, offsets, cuts))
