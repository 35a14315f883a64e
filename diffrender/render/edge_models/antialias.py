"""Box-filtered edges: more samples where outlines pass, and the exact gradient of their motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import Outlines
from diffrender.ops.collect import collect
from diffrender.ops.contours import contours
from diffrender.ops.probe import probe
from diffrender.ops.rasterize import Raster
from diffrender.render.edge_model import Beyond, EdgeModel, Visible
from diffrender.render.edge_models.hard import resolve

# How far outside an outline one looks for what covers it or lies beyond it, in pixels: little, because an outline may
# hide behind a fold of the surface that ends a hundredth of a pixel further out, yet far more than float32 resolves.
BEYOND_PX = 0.002


@dataclass(frozen=True)
class Antialias(EdgeModel):
    """The image of a box filter one pixel wide, and its gradient.

    Pixels that an outline passes are the mean of samples x samples points, the others show their centre. Where an
    outline moves, its pixel gains the length of outline in it times the colour step across it; that holds against the
    background, for one surface in front of another and for open boundaries.

    samples: points along each side of a pixel on an outline.
    """

    samples: int = 4

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ShapeError(f"Antialias: samples must be at least 1, got {self.samples}")

    def visible(
        self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None
    ) -> Visible:
        """Centres of plain pixels, several points in pixels on outlines, and the outlines that can be seen."""
        n_views, height, width = raster.face_id.shape[:3]
        depth = raster.depth[..., 0]
        lines = contours(verts_hom, topology, raster.bins.facing, depth, near=near, backend=backend)
        on_outline = torch.zeros(n_views * height * width, dtype=torch.bool, device=verts_hom.device)
        on_outline[lines.pixel] = True
        refined = torch.nonzero(on_outline)[:, 0]

        # One probe for the samples in pixels on outlines and for the places just outside the outlines.
        offsets = verts_hom.new_tensor(sample_places(self.samples))
        refined_view = refined // (height * width)
        corner = torch.stack([refined % width, refined // width - refined_view * height], 1)
        sub_place = (corner[:, None] + offsets).reshape(-1, 2)
        line_view = lines.pixel // (height * width)
        beyond_place = lines.place_px + BEYOND_PX * torch.nn.functional.normalize(lines.normal_px, dim=1)
        found_face, found_depth = probe(
            verts_hom, topology.faces, torch.cat([refined_view.repeat_interleave(len(offsets)), line_view]),
            torch.cat([sub_place, beyond_place]), height, width, bins=raster.bins, near=near, backend=backend,
        )  # fmt: skip
        sub_face, beyond_face = found_face.split([len(sub_place), len(beyond_place)])
        sub_face = sub_face.reshape(len(refined), len(offsets))
        samples = collect(raster.face_id[..., 0], refined, sub_face, offsets, backend=backend)

        # An outline is seen unless something nearer covers the place just outside it.
        is_seen = (beyond_face < 0) | (found_depth[len(sub_place) :] >= lines.depth)
        seen = torch.nonzero(is_seen)[:, 0]
        outlines = Outlines(lines.pixel[seen], lines.face[seen], lines.bary[seen], lines.normal_px[seen])
        view, face, place = line_view[seen], beyond_face[seen], beyond_place[seen]
        inner = torch.nonzero(face >= 0)[:, 0]
        return Visible(raster, samples, outlines, view, Beyond(inner, view[inner], face[inner], place[inner]))

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
        """Each pixel the mean of its samples, moved by the outlines."""
        return resolve(radiance, jump, verts_hom, topology, visible, background, backend)


def sample_places(samples: int) -> list[tuple[float, float]]:
    """(x, y) in 0..1 of the samples in a pixel; sample `r samples + c` lies in cell (row r, column c) of a grid.

    Inside the cells the samples are sheared so that no two share a row or a column: an outline that is nearly
    horizontal or vertical then passes them one by one (n-rooks sampling, Shirley 1991).
    """
    s = samples
    return [((c + (r + 0.5) / s) / s, (r + (c + 0.5) / s) / s) for r in range(s) for c in range(s)]
