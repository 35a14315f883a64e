"""Antialias: box-filtered silhouettes by supersampling, and the exact gradient of their motion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology
from diffrender.list_sizes import SizesError, has_sizes, hold
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.intersections import Intersections, intersections
from diffrender.ops.query_visibility import query_visibility
from diffrender.ops.rasterize import Raster
from diffrender.ops.supersample_silhouettes import AntialiasPlan, OutsidePoints, supersample_silhouettes
from diffrender.render.edge_model import EdgeModel, Shaded, Visible, resolve
from diffrender.render.edge_models.contacts import resolve_contacts, shows_backs
from diffrender.render.edge_models.meeting_pairs import meeting_pairs

# Relative depth difference below which faces count as equally deep where they meet.
SAME_DEPTH = 1e-6
# Multiples of it modulo 1 stay farther apart than those of any other number.
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Antialias(EdgeModel):
    """The image under a box filter one pixel wide, with its gradient.

    Pixels that contain a silhouette segment are the mean of samples x samples points, all others show their centre.
    Where one straight silhouette cuts a pixel in two, the points on either side share its exact area.
    When a silhouette segment moves, its pixel changes by the length of the segment in it times the colour step across
    it, per pixel of motion. Silhouettes are those against the background, those of one surface in front of another,
    open boundaries, edges at which a surface changes its colour at a step, and the lines where separate parts
    (objects, or parts of a mesh without a common vertex) pass through each other; self-intersections of one connected
    part have no gradient. Where surfaces touch and the derivative to one side differs from that to the other, it is
    the mean of parting and entering if both have a silhouette there, and that of parting if only one has. Surfaces that
    move together have the image's own derivative.

    samples: points per pixel along each axis in pixels with silhouettes, at least 1; default 4. Otherwise raises
        ShapeError.

    In a scene file:

        render: {edges: {type: antialias, samples: 4}}
    """

    samples: int = 4

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ShapeError(f"Antialias: samples must be at least 1, got {self.samples}")

    def visible(
        self,
        verts_hom: Tensor,
        topology: Topology,
        raster: Raster,
        near: float,
        backend: str | None,
        jumps: Tensor | None = None,
    ) -> Visible:
        """Return the centres of plain pixels, several points in pixels with silhouettes, and the visible segments."""
        height, width = raster.face_id.shape[1:3]
        has_parts = topology.n_components > 1
        if has_parts and has_sizes():
            raise SizesError("where parts of a scene may pass through one another, lists have no lasting sizes")
        meets = where_parts_meet(raster.face_id[..., 0], topology) if has_parts else None
        plan = supersample_silhouettes(
            verts_hom,
            topology,
            raster,
            hold(_offsets(self.samples, verts_hom.dtype, verts_hom.device)),
            near=near,
            extra_pixels=meets,
            jumps=jumps,
            backend=backend,
        )
        segments, outside = resolve_contacts(verts_hom, topology, raster, plan, near, backend)
        if meets is not None:
            borders = torch.nonzero(meets.reshape(-1))[:, 0]
            crossing, across = self._crossings(verts_hom, topology, raster, plan, borders, near, backend)
            across = across._replace(segment=across.segment + len(segments.pixel))
            segments = VisibleSegments(*(torch.cat(pair) for pair in zip(segments, crossing, strict=True)))
            outside = OutsidePoints(*(torch.cat(pair) for pair in zip(outside, across, strict=True)))
        return Visible(raster, plan.samples, segments, segments.pixel // (height * width), outside)

    def _crossings(
        self,
        verts_hom: Tensor,
        topology: Topology,
        raster: Raster,
        plan: AntialiasPlan,
        borders: Tensor,
        near: float,
        backend: str | None,
    ) -> tuple[VisibleSegments, OutsidePoints]:
        """Return the lines where parts intersect, as silhouette segments of each face against the other."""
        height, width = raster.face_id.shape[1:3]
        backs = shows_backs(verts_hom, topology, near)
        pairs = meeting_pairs(verts_hom, topology, raster, plan.pixel, plan.sample_face_id, borders, backs)
        parts = [
            intersections(verts_hom, topology.faces, pixel, pair, height, width, backend=backend)
            for pixel, pair in pairs
        ]
        found = Intersections(*(torch.cat(each) for each in zip(*parts, strict=True)))
        seen_face, seen_depth = query_visibility(
            verts_hom, topology.faces, found.pixel // (height * width), found.xy_px, height, width,
            bins=raster.bins, near=near, backend=backend,
        )  # fmt: skip
        is_seen = (seen_face[:, None] == found.face).any(1) | (seen_depth >= found.depth * (1 - SAME_DEPTH))
        seen = torch.nonzero(is_seen & (found.depth >= near))[:, 0]
        face = found.face[seen]
        segments = VisibleSegments(
            found.pixel[seen].repeat_interleave(2),
            face.reshape(-1),
            found.bary[seen].reshape(-1, 3),
            found.normal_px[seen].reshape(-1, 2),
            found.depth_weight[seen].reshape(-1),
        )
        outside = OutsidePoints(
            torch.arange(2 * len(seen), device=seen.device),
            segments.pixel // (height * width),
            face.flip(1).reshape(-1),
            found.xy_px[seen].repeat_interleave(2, 0).to(verts_hom.dtype),
        )
        return segments, outside

    def image(self, shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
        """Return the mean of each pixel's samples, with gradients across silhouette segments."""
        return resolve(shaded, topology, visible, backend)


@lru_cache(maxsize=16)
def _offsets(samples: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the sample positions [S, 2]; kept, since each copy to a device waits for it."""
    return torch.tensor(sample_positions(samples), dtype=dtype, device=device)


def sample_positions(samples: int) -> list[tuple[float, float]]:
    """Return (x, y) in 0..1 of the samples^2 samples of a pixel, one in each of as many columns and rows.

    From column to column the row advances by the golden ratio's fraction of the pixel, so that few samples are aligned
    in any direction: a silhouette of any slope passes them nearly one by one (n-rooks sampling, Shirley 1991, with the
    rows in the order of the golden ratio's multiples). The coverage of a random half plane has an RMS error of 0.031
    with 16 samples and 0.050 with 9; with 4 x 4 samples sheared to share no row or column it is 0.043.
    """
    n = samples**2
    shift = [math.modf(0.5 + column * GOLDEN)[0] for column in range(n)]
    row_of = {column: row for row, column in enumerate(sorted(range(n), key=shift.__getitem__))}
    return [((column + 0.5) / n, (row_of[column] + 0.5) / n) for column in range(n)]


def where_parts_meet(face_id: Tensor, topology: Topology) -> Tensor:
    """Return [N, H, W] bool: pixels of face_id [N, H, W] that see another part than one of their neighbours."""
    part = topology.face_component[face_id.clamp_min(0)].where(face_id >= 0, -1)
    result = torch.zeros_like(face_id, dtype=torch.bool)
    for dim in (1, 2):
        size = part.shape[dim]
        a, b = part.narrow(dim, 0, size - 1), part.narrow(dim, 1, size - 1)
        differs = (a >= 0) & (b >= 0) & (a != b)
        result.narrow(dim, 0, size - 1).logical_or_(differs)
        result.narrow(dim, 1, size - 1).logical_or_(differs)
    return result
