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

from diffrender.scene.materials.directional_albedo import albedo_table

FILE = Path(__file__).with_name("lobe_table.npy")
N_LOBES = 3


class HighlightLobes(NamedTuple):
    """N_LOBES lobes whose sum approximates a highlight; each field is [R, K, N_LOBES], over roughness and n.v.

    towards_mirrored: w; the axis of a lobe is along (1 - w) n + w m, with n the normal and m the mirror direction.
    roughness: that of the GGX lobe of the same width at normal incidence.
    scale, bias: the lobe's fraction of scale A - B and of bias B (`directional_albedo`); each sums to 1.
    """

    towards_mirrored: Tensor
    roughness: Tensor
    scale: Tensor
    bias: Tensor


def lobe_table() -> Tensor:
    """Return the table [R, K, 2 + 4 N_LOBES] float64 of `ops.ggx_lobes`: the albedo, and the lobes of FILE."""
    return torch.cat([albedo_table(), *highlight_lobes()], -1)


def whole_highlight() -> Tensor:
    """Return the table [R, K, 6] float64 of `ops.ggx_lobes` with one lobe for all that is reflected, about n."""
    albedo = albedo_table()
    return torch.cat([albedo, torch.zeros_like(albedo), torch.ones_like(albedo)], -1)


@cache
def highlight_lobes() -> HighlightLobes:
    """Load the lobes from FILE, in float64."""
    import numpy as np

    lobes = HighlightLobes(*torch.from_numpy(np.load(FILE).astype("float64")).unflatten(-1, (4, N_LOBES)).unbind(-2))
    # The file holds half precision, which is enough except for the fractions that must sum to 1.
    scale, bias = (share / share.sum(-1, keepdim=True) for share in (lobes.scale, lobes.bias))
    return lobes._replace(scale=scale, bias=bias)
