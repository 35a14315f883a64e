"""Total variation of a quantity on a surface."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean, deterministic_sum
from diffrender.fit.regularizers.regularizer_units import SHORTEST, edge_vectors
from diffrender.geometry.seams import SeamSamples, sample_seams
from diffrender.list_sizes import hold
from diffrender.ops.total_variation import total_variation as texel_variation
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.textures.texel_to_surface import covered_texels
from diffrender.scene.textures.texture import Texture

# Differences below this cost about quadratically, so that the derivative is continuous; 1/255 is four times as much.
SMALL = 1e-3


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
        # By identity: a mesh whose vertices move keeps its texture coordinates, and with them their numbers, which a
        # recording does not copy.
        if known is None or known[0] is not mesh.uv_faces or known[1] != (height, width):
            seams = sample_seams(mesh.topology, mesh.uvs, mesh.uv_faces, height, width)
            known = (mesh.uv_faces, (height, width), Layout(covered_texels(mesh, height, width), seams))
            self._found[name] = known
        return hold(known[2])


def total_variation(
    mesh: Mesh, value: SurfaceValue, layout: Layout | None, weights: Tensor | None = None
) -> Tensor | None:
    """Return the mean length [] of differences between neighbours; None for a uniform value, which has none.

    Of a texture per its width, of values of vertices, along edges, per size of the mesh: 1 for a ramp from 0 to 1 at
    any resolution. layout: of a texture; None: all texels count. weights: of the differences, as ops.total_variation
    has them for a texture (those across seams have weight 1), or [E].
    Source: the vectorial total variation of Bresson & Chan (2008), smoothed at zero.
    """
    if isinstance(value, Texture):
        covered, seams = (None, None) if layout is None else layout
        texels = value.texels
        weights = None if weights is None else weights.to(texels.dtype)  # of colours, perhaps of another
        total, number = texel_variation(texels, SMALL, covered, weights)
        n_across = 0
        if seams is not None and len(seams.first):
            both_sides = value.sample(torch.cat([seams.first, seams.second]).to(texels.dtype))
            first, second = both_sides.unflatten(0, (2, -1))
            total = total + deterministic_sum(_lengths(second - first))
            n_across = len(first)
        return total / (number + n_across).clamp_min(1) * len(texels)
    if value.dim() == 1:
        return None
    with torch.no_grad():
        size = (mesh.vertices - mesh.vertices.mean(0)).norm(dim=1).mean()
        length = deterministic_mean(edge_vectors(mesh).norm(dim=1)).clamp_min(SHORTEST)
    lengths = _lengths(edge_steps(mesh, value))
    return deterministic_mean(lengths if weights is None else lengths * weights) * (size / length).to(value.dtype)


def _lengths(differences: Tensor) -> Tensor:
    return (differences.square().sum(-1) + SMALL**2).sqrt() - SMALL


def edge_steps(mesh: Mesh, value: Tensor) -> Tensor:
    """Return the differences [E, C] of a value [V, C] along the edges of a mesh."""
    ends = value.index_select(0, mesh.topology.edges.reshape(-1)).unflatten(0, (-1, 2))
    return ends[:, 1] - ends[:, 0]
