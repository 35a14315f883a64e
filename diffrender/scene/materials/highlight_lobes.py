"""Highlights as sums of three rotationally symmetric lobes: a small table, fitted to GGX (scripts/fit_lobes.py).

At grazing angles a highlight is elongated, and its centre is between the mirror direction and the normal; the part that
grows towards grazing angles (Schlick's Fresnel term) has another centre than the rest. Environments are prefiltered by
rotationally symmetric lobes only, so a highlight is approximated by a few of them in the plane of normal and camera.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.scene.materials.tabulate_albedo import look_up, table_of

FILE = Path(__file__).with_name("lobe_table.npy")
N_LOBES = 3


class HighlightLobes(NamedTuple):
    """N_LOBES lobes whose sum approximates a highlight; each field is [M or 1, N_LOBES].

    towards_mirrored: w; the axis of a lobe is along (1 - w) n + w m, with n the normal and m the mirror direction.
    roughness: that of the GGX lobe of the same width at normal incidence.
    scale, bias: the lobe's fraction of A - B and of B (`directional_albedo.scale_and_bias`); each sums to 1.
    """

    towards_mirrored: Tensor
    roughness: Tensor
    scale: Tensor
    bias: Tensor


def lobes_of_highlight(roughness: Tensor, cos_camera: Tensor, backend: str | None = None) -> HighlightLobes:
    """Look up the lobes of a highlight of roughness and n.v, [M or 1, 1] each; differentiable in both."""
    entries = look_up(table_of(lobe_table, roughness.dtype, roughness.device), roughness, cos_camera, backend)
    return HighlightLobes(*entries.unflatten(-1, (4, N_LOBES)).unbind(-2))


@cache
def lobe_table() -> Tensor:
    """Load [R, K, 4 N_LOBES] float64, the fields of HighlightLobes one after the other, from FILE."""
    import numpy as np

    table = torch.from_numpy(np.load(FILE).astype("float64")).unflatten(-1, (4, N_LOBES))
    # The file holds half precision, which is enough except for the fractions that must sum to 1.
    shares = table[..., 2:, :]
    return torch.cat([table[..., :2, :], shares / shares.sum(-1, keepdim=True)], -2).flatten(-2)
