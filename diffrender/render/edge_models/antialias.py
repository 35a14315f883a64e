"""Box-filtered edges: more samples where outlines pass, and the exact gradient of their motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import Outlines, antialias
from diffrender.ops.contours import contours
from diffrender.ops.probe import probe
from diffrender.ops.rasterize import Raster
from diffrender.render.edge_model import EdgeModel, Visible
from diffrender.render.edge_models.hard import pixel_centers
from diffrender.render.fragments import Fragments

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

    def visible(self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None) -> Visible:
        """Centres of plain pixels, several points in pixels on outlines, and the outlines that can be seen."""
        height, width = raster.face_id.shape[1:3]
        n_pixels = height * width
        depth = raster.depth[..., 0]
        lines = contours(verts_hom, topology, raster.bins.facing, depth, near=near, backend=backend)

        # One probe for the samples in pixels on outlines and for the places just outside the outlines.
        refined = torch.unique(lines.pixel)
        offsets = verts_hom.new_tensor(sample_places(self.samples)) - 0.5
        sub_place = (pixel_centers(refined, height, width, verts_hom.dtype)[:, None] + offsets).reshape(-1, 2)
        outward = torch.nn.functional.normalize(lines.normal_px, dim=1)
        beyond_place = lines.place_px + BEYOND_PX * outward
        sub_pixel = refined.repeat_interleave(self.samples**2)
        face_id, found_depth = probe(
            verts_hom, topology.faces, torch.cat([sub_pixel, lines.pixel]) // n_pixels,
            torch.cat([sub_place, beyond_place]), height, width, bins=raster.bins, near=near, backend=backend,
        )  # fmt: skip
        sub_face, beyond_face = face_id.split([len(sub_pixel), len(lines.pixel)])

        center_face = raster.face_id.reshape(n_pixels * len(verts_hom), -1)[:, 0]
        is_plain = center_face >= 0
        is_plain[refined] = False
        plain = torch.nonzero(is_plain)[:, 0]
        covered = torch.nonzero(sub_face >= 0)[:, 0]
        weight = verts_hom.new_ones(len(plain) + len(covered))
        weight[len(plain) :] = 1 / self.samples**2
        fragments = Fragments(
            pixel=torch.cat([plain, sub_pixel[covered]]),
            face_id=torch.cat([center_face[plain], sub_face[covered]]),
            place_px=torch.cat([pixel_centers(plain, height, width, verts_hom.dtype), sub_place[covered]]),
            weight=weight,
        )
        # An outline is seen unless something nearer covers the place just outside it.
        seen = torch.nonzero((beyond_face < 0) | (found_depth[len(sub_pixel) :] >= lines.depth))[:, 0]
        outlines = Outlines(lines.pixel[seen], lines.face[seen], lines.bary[seen], lines.normal_px[seen])
        beyond = Fragments(outlines.pixel, beyond_face[seen], beyond_place[seen], verts_hom.new_zeros(len(seen)))
        return Visible(raster, fragments, outlines, beyond)

    def image(
        self,
        radiance: Tensor,
        jump: Tensor,
        verts_hom: Tensor,
        topology: Topology,
        visible: Visible,
        backend: str | None,
    ) -> Tensor:
        """Mean of each pixel's samples; outlines move it."""
        size = tuple(visible.raster.face_id.shape[:3])
        samples = visible.fragments
        return antialias(
            radiance, jump, verts_hom, topology.faces, samples.pixel, samples.weight, visible.outlines, size,
            backend=backend,
        )  # fmt: skip


def sample_places(samples: int) -> list[tuple[float, float]]:
    """(x, y) in 0..1 of the samples in a pixel; sample `r samples + c` lies in cell (row r, column c) of a regular grid.

    Inside the cells the samples are sheared so that no two share a row or a column: an outline that is nearly
    horizontal or vertical then passes them one by one (n-rooks sampling, Shirley 1991).
    """
    s = samples
    return [((c + (r + 0.5) / s) / s, (r + (c + 0.5) / s) / s) for r in range(s) for c in range(s)]
