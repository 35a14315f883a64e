"""Hard: one sample per pixel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.gather_samples import gather_samples
from diffrender.ops.rasterize import Raster
from diffrender.ops.supersample_silhouettes import OutsidePoints
from diffrender.render.edge_model import EdgeModel, Shaded, Visible, resolve


@dataclass(frozen=True)
class Hard(EdgeModel):
    """Every pixel shows what its centre sees: aliased, without gradients at silhouettes; shapes only follow shading.

    In a scene file:

        render: {edges: {type: hard}}
    """

    def visible(
        self,
        verts_hom: Tensor,
        topology: Topology,
        raster: Raster,
        near: float,
        backend: str | None,
        jumps: Tensor | None = None,
    ) -> Visible:
        """Return the centres of covered pixels."""
        face_id = raster.face_id[..., 0]
        none = face_id.new_empty(0)
        no_points = verts_hom.new_empty(0, 2)
        samples = gather_samples(
            face_id, none, none[:, None], verts_hom.new_full((1, 2), 0.5), verts_hom.new_ones(0, 1), backend=backend
        )
        segments = VisibleSegments(none, none, verts_hom.new_empty(0, 3), no_points, no_points[:, 0])
        return Visible(raster, samples, segments, none, OutsidePoints(none, none, none, no_points))

    def image(self, shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
        """Return each pixel's one sample."""
        return resolve(shaded, topology, visible, backend)
