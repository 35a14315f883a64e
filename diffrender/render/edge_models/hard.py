"""One sample a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import Outlines, antialias
from diffrender.ops.rasterize import Raster
from diffrender.render.edge_model import EdgeModel, Visible
from diffrender.render.fragments import Fragments


@dataclass(frozen=True)
class Hard(EdgeModel):
    """Every pixel shows what its centre sees. Jagged, and outlines have no gradient: only colours and light learn."""

    def visible(self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None) -> Visible:
        """The centres of covered pixels."""
        width = raster.face_id.shape[2]
        face_id = raster.face_id[..., 0].reshape(-1)
        pixel = torch.nonzero(face_id >= 0)[:, 0]
        fragments = Fragments(
            pixel=pixel,
            face_id=face_id[pixel],
            place_px=pixel_centers(pixel, raster.face_id.shape[1], width, verts_hom.dtype),
            weight=torch.ones(len(pixel), dtype=verts_hom.dtype, device=verts_hom.device),
        )
        none = pixel[:0]
        floats = verts_hom.new_empty
        outlines = Outlines(none, none, floats(0, 3), floats(0, 2))
        return Visible(raster, fragments, outlines, Fragments(none, none, floats(0, 2), floats(0)))

    def image(
        self,
        radiance: Tensor,
        jump: Tensor,
        verts_hom: Tensor,
        topology: Topology,
        visible: Visible,
        backend: str | None,
    ) -> Tensor:
        """Each sample is its pixel."""
        size = tuple(visible.raster.face_id.shape[:3])
        samples = visible.fragments
        return antialias(
            radiance, jump, verts_hom.detach(), topology.faces, samples.pixel, samples.weight,
            visible.outlines, size, backend=backend,
        )  # fmt: skip


def pixel_centers(pixel: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """[M, 2] (x, y) of the centres of pixels (n H + i) W + j."""
    column = pixel % width
    row = (pixel // width) % height
    return torch.stack([column, row], 1).to(dtype) + 0.5
