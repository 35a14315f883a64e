"""How much a quantity on a surface varies from place to place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean, deterministic_sum
from diffrender.fit.regularizers.mesh_scale import SHORTEST, edge_vectors
from diffrender.geometry.seams import SeamPlaces, seam_places
from diffrender.scene.fields import SurfaceValue
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture

# Differences below this count squared, so that the derivative is continuous; a step of a byte is four times as much.
SMALL = 1e-3


class Steps(NamedTuple):
    """Differences between neighbours on a surface.

    values: tensors [..., C]: of a texture down the columns, along the rows and, where its layout is known, across the
        seams between charts; a single one [E, C] for the edges of a mesh.
    counts: the same without C: 1 where the two are neighbours on the surface, else 0; None: everywhere.
    per_length: what a difference is multiplied by to be one over the width of the texture, or over the mesh's size.
    """

    values: tuple[Tensor, ...]
    counts: tuple[Tensor, ...] | None
    per_length: Tensor


class Layout(NamedTuple):
    """How a texture of some size lies on a mesh.

    covered: [H, W] bool, the texels on the mesh.
    seams: places where two charts meet, a texel apart; None: what the charts say there cannot be compared.
    """

    covered: Tensor
    seams: SeamPlaces | None


class Layouts:
    """How textures lie on their meshes, found once for each set of texture coordinates: remeshing may change them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Tensor, tuple[int, int], Layout]] = {}

    def of(self, name: str, mesh: Mesh, value: SurfaceValue) -> Layout | None:
        """That of `value`, called `name`, on `mesh`; None for what is no texture."""
        if not isinstance(value, Texture) or mesh.uvs is None or mesh.uv_faces is None:
            return None
        height, width = value.texels.shape[:2]
        known = self._found.get(name)
        # By identity: a mesh whose vertices move keeps its texture coordinates.
        if known is None or known[0] is not mesh.uvs or known[1] != (height, width):
            seams = seam_places(mesh.topology, mesh.uvs, mesh.uv_faces, height, width)
            known = (mesh.uvs, (height, width), Layout(texel_map(mesh, height, width).covered, seams))
            self._found[name] = known
        return known[2]


def steps_of(mesh: Mesh, value: SurfaceValue, layout: Layout | None) -> Steps | None:
    """The differences of `value`; None where it is uniform. layout: of a texture; None: all its texels count alike."""
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
    """Differences of texels [H, W, C] down the columns and along the rows."""
    return texels[1:] - texels[:-1], texels[:, 1:] - texels[:, :-1]


def edge_steps(mesh: Mesh, value: Tensor) -> Tensor:
    """[E, C] differences of a value [V, C] along the edges of a mesh."""
    ends = value.index_select(0, mesh.topology.edges.reshape(-1)).unflatten(0, (-1, 2))
    return ends[:, 1] - ends[:, 0]


def variation(steps: Steps, weights: tuple[Tensor, ...] | None = None) -> Tensor:
    """[] mean length of the differences, per width: 1 for a ramp from 0 to 1, whatever the resolution.

    weights: of the differences, in the shapes of `counts`; those beyond the last weight count whole.
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
