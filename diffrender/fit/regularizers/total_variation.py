"""Total variation of a quantity on a surface."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean, deterministic_sum
from diffrender.fit.regularizers.regularizer_units import SHORTEST, edge_vectors
from diffrender.geometry.seams import SeamSamples, sample_seams
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.textures.texel_to_surface import covered_texels
from diffrender.scene.textures.texture import Texture

# Differences below this cost about quadratically, so that the derivative is continuous; 1/255 is four times as much.
SMALL = 1e-3


class Steps(NamedTuple):
    """Differences between neighbours on a surface.

    values: tensors [..., C]: for a texture, along columns, along rows and, if its layout is known, across the seams
        between charts; for a mesh, one tensor [E, C] along the edges.
    counts: as `values`, without C: 1 for neighbours on the surface, else 0; None: all 1.
    per_length: the factor that converts a difference to one per width of the texture, or per size of the mesh.
    """

    values: tuple[Tensor, ...]
    counts: tuple[Tensor, ...] | None
    per_length: Tensor


class Layout(NamedTuple):
    """The layout of a texture of one size on a mesh.

    covered: [H, W] bool, the texels on the mesh.
    seams: points where two charts meet, one texel apart; None if values cannot be compared across charts.
    """

    covered: Tensor
    seams: SeamSamples | None


class Layouts:
    """A cache of layouts of textures on meshes, updated when texture coordinates change, as by remeshing."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Tensor, tuple[int, int], Layout]] = {}

    def of(self, name: str, mesh: Mesh, value: SurfaceValue) -> Layout | None:
        """Return the layout of `value`, called `name`, on `mesh`; None if it is not a texture."""
        if not isinstance(value, Texture) or mesh.uvs is None or mesh.uv_faces is None:
            return None
        height, width = value.texels.shape[:2]
        known = self._found.get(name)
        # By identity: a mesh whose vertices move keeps its texture coordinates.
        if known is None or known[0] is not mesh.uvs or known[1] != (height, width):
            seams = sample_seams(mesh.topology, mesh.uvs, mesh.uv_faces, height, width)
            known = (mesh.uvs, (height, width), Layout(covered_texels(mesh, height, width), seams))
            self._found[name] = known
        return known[2]


def find_steps(mesh: Mesh, value: SurfaceValue, layout: Layout | None) -> Steps | None:
    """Return the differences of `value`, None if it is uniform. layout: of a texture; None: all texels count."""
    if isinstance(value, Texture):
        texels = value.texels
        per_length = texels.new_tensor(float(len(texels)))
        if layout is None:
            return Steps(texel_steps(texels), None, per_length)
        covered, seams = layout
        values = texel_steps(texels)
        counts = ((covered[1:] & covered[:-1]).to(texels.dtype), (covered[:, 1:] & covered[:, :-1]).to(texels.dtype))
        if seams is None:
            return Steps(values, counts, per_length)
        both_sides = value.sample(torch.cat([seams.first, seams.second]).to(texels.dtype))
        first, second = both_sides.unflatten(0, (2, len(seams.first)))
        across = second - first
        return Steps((*values, across), (*counts, torch.ones_like(across[:, 0])), per_length)
    if value.dim() == 1:
        return None
    with torch.no_grad():
        size = (mesh.vertices - mesh.vertices.mean(0)).norm(dim=1).mean()
        length = deterministic_mean(edge_vectors(mesh).norm(dim=1)).clamp_min(SHORTEST)
    return Steps((edge_steps(mesh, value),), None, (size / length).to(value.dtype))


def texel_steps(texels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of texels [H, W, C] along columns and along rows."""
    return texels[1:] - texels[:-1], texels[:, 1:] - texels[:, :-1]


def edge_steps(mesh: Mesh, value: Tensor) -> Tensor:
    """Return the differences [E, C] of a value [V, C] along the edges of a mesh."""
    ends = value.index_select(0, mesh.topology.edges.reshape(-1)).unflatten(0, (-1, 2))
    return ends[:, 1] - ends[:, 0]


def total_variation(steps: Steps, weights: tuple[Tensor, ...] | None = None) -> Tensor:
    """Return the mean norm [] of the differences, per width: 1 for a ramp from 0 to 1 at any resolution.

    weights: of the differences, in the shapes of `counts`; differences beyond the last weight have weight 1.
    Source: the vectorial total variation of Bresson & Chan (2008), smoothed at zero.
    """
    total: Tensor | None = None
    number: Tensor | float = 0.0
    for i, values in enumerate(steps.values):
        length = (values.square().sum(-1) + SMALL**2).sqrt() - SMALL
        counts = None if steps.counts is None else steps.counts[i]
        number = number + (length.numel() if counts is None else deterministic_sum(counts))
        weight = counts
        if weights is not None and i < len(weights):
            weight = weights[i] if counts is None else counts * weights[i]
        part = deterministic_sum(length if weight is None else length * weight)
        total = part if total is None else total + part
    assert total is not None
    return total / max(float(number), 1.0) * steps.per_length
