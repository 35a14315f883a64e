"""Highlights as sums of three round lobes: a small table, fitted to GGX (scripts/fit_lobes.py).

Seen from the side, a highlight is longer than wide, and lies between the mirror's direction and the normal; the part of
it that grows towards grazing angles (Schlick's Fresnel term) lies elsewhere than the rest. Skies know means over round
lobes only, so a highlight is a sum of a few along the plane of normal and camera.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.scene.materials.albedo_tables import look_up, table_of

FILE = Path(__file__).with_name("lobe_table.npy")
N_LOBES = 3


class HighlightLobes(NamedTuple):
    """N_LOBES round lobes that a highlight looks like, each [M or 1, N_LOBES].

    towards_mirrored: w; the middle of a lobe is along (1 - w) n + w m, with n the normal and m the mirror's direction.
    roughness: of the GGX lobe that is as wide, seen straight on.
    scale, bias: which part of (A - B) and of B (`directional_albedo.scale_and_bias`) goes to the lobe; each adds to 1.
    """

    towards_mirrored: Tensor
    roughness: Tensor
    scale: Tensor
    bias: Tensor


def lobes_of_highlight(roughness: Tensor, cos_camera: Tensor, backend: str | None = None) -> HighlightLobes:
    """The lobes of a highlight of roughness and n.v, [M or 1, 1] each; differentiable in both."""
    found = look_up(table_of(lobe_table, roughness.dtype, roughness.device), roughness, cos_camera, backend)
    return HighlightLobes(*found.unflatten(-1, (4, N_LOBES)).unbind(-2))


@cache
def lobe_table() -> Tensor:
    """[R, C, 4 N_LOBES] float64: the fields of HighlightLobes, one after the other; from the file beside this one."""
    import numpy as np

    table = torch.from_numpy(np.load(FILE).astype("float64")).unflatten(-1, (4, N_LOBES))
    # Half precision is plenty for all but what must add up.
    shares = table[..., 2:, :]
    return torch.cat([table[..., :2, :], shares / shares.sum(-1, keepdim=True)], -2).flatten(-2)
