"""List the samples that an image is made of."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_discrete


class Samples(NamedTuple):
    """M samples of an image that see a surface, ordered by pixel.

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


def gather_samples(
    face_id: Tensor,
    refined: Tensor,
    sample_face_id: Tensor,
    offsets: Tensor,
    share: Tensor,
    added: Samples | None = None,
    *,
    backend: str | None = None,
) -> Samples:
    """List one sample at the centre of each covered plain pixel, and those of S that see a face in each refined pixel.

    Those of one face in one quarter of a pixel are one sample, at their mean: nearly the same image for a fraction of
    the shading; they are listed by face and quarter. A sample at a centre has weight 1, others their share. Not
    differentiable.

    face_id: [N, H, W] int64 what pixel centres see, -1 for nothing.
    refined: [R] int64 (n H + i) W + j, ascending.
    sample_face_id: [R, S] int64 what the samples in refined pixels see, -1 for nothing.
    offsets: [S, 2] where in its pixel each sample is, (x, y) in 0..1; its dtype is that of the result.
    share: [R, S] weights of the samples in refined pixels; those of a pixel, with what is added, add up to 1.
    added: K more samples of refined pixels, at most one of each, by pixel; each is the last of its pixel. None: none.
    """
    if added is None:
        none = refined.new_empty(0)
        added = Samples(none, none, none, offsets.new_empty(0, 2), share.new_empty(0))
    check_tensors(
        "gather_samples",
        face_id=(face_id, "int64: N H W"),
        refined=(refined, "int64: R"),
        offsets=(offsets, "S 2"),
        sample_face_id=(sample_face_id, "int64: R S"),
        share=(share, "R S"),
        **{
            "added.pixel": (added.pixel, "int64: K"),
            "added.view": (added.view, "int64: K"),
            "added.face_id": (added.face_id, "int64: K"),
            "added.xy_px": (added.xy_px, "K 2"),
            "added.weight": (added.weight, "K"),
        },
    )
    return Samples(*run_discrete("gather_samples", backend, face_id, refined, sample_face_id, offsets, share, added))
