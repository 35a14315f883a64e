"""One sample a pixel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import Outlines, antialias
from diffrender.ops.collect import collect
from diffrender.ops.rasterize import Raster
from diffrender.render.edge_model import Beyond, EdgeModel, Visible


@dataclass(frozen=True)
class Hard(EdgeModel):
    """Every pixel shows what its centre sees. Jagged, and outlines have no gradient: shapes only follow the shading."""

    def visible(
        self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None
    ) -> Visible:
        """The centres of covered pixels."""
        face_id = raster.face_id[..., 0]
        none = face_id.new_empty(0)
        nowhere = verts_hom.new_empty(0, 2)
        samples = collect(face_id, none, none[:, None], verts_hom.new_full((1, 2), 0.5), backend=backend)
        outlines = Outlines(none, none, verts_hom.new_empty(0, 3), nowhere, nowhere[:, 0])
        return Visible(raster, samples, outlines, none, Beyond(none, none, none, nowhere))

    def image(
        self,
        radiance: Tensor,
        jump: Tensor,
        verts_hom: Tensor,
        topology: Topology,
        visible: Visible,
        background: Tensor,
        backend: str | None,
    ) -> Tensor:
        """Each sample is its pixel."""
        return resolve(radiance, jump, verts_hom, topology, visible, background, backend)


def resolve(
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    topology: Topology,
    visible: Visible,
    background: Tensor,
    backend: str | None,
) -> Tensor:
    """[N, H, W, C + 1]: each pixel the mean of its samples, moved by the outlines."""
    n_views, height, width = visible.raster.face_id.shape[:3]
    return antialias(
        radiance, jump, verts_hom, topology.faces, visible.samples.pixel, visible.samples.weight, visible.outlines,
        background, (n_views, height, width), backend=backend,
    )  # fmt: skip
