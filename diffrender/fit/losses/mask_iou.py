"""Overlap of silhouettes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import sum_per_view
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.objective import Loss


@dataclass(frozen=True)
class MaskIoU(Loss):
    """1 - intersection over union of coverage and target mask.

    Intersection is the smaller and union the larger of two coverages (M. Ruzicka, 1958): for a mask of zeros and ones
    that is the usual product form, and pixels half covered in both count as equal.
    """

    buffers: ClassVar[tuple[str, ...]] = ()
    needs_masks: ClassVar[bool] = True

    def __call__(self, comparison: LossInputs) -> Tensor:
        """[n] 0 for equal silhouettes, also for two empty ones; 1 for disjoint ones."""
        coverage, mask = comparison.output.coverage, comparison.masks()
        # A union below one pixel counts as one: the gradient stays bounded as everything vanishes.
        union = sum_per_view(torch.maximum(coverage, mask)).clamp_min(1)
        return sum_per_view((coverage - mask).abs()) / union
