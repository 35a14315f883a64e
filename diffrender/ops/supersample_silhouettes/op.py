"""Take more samples where silhouettes pass, and find the silhouette segments that are seen."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.differentiable import run_discrete
from diffrender.ops.gather_samples import Samples
from diffrender.ops.rasterize import Raster

# How far outside a silhouette to look for what covers it or is behind it, in pixels: very little, because on a mesh of
# subpixel triangles a silhouette may hide behind a fold that ends a ten-thousandth of a pixel further out.
OUTSIDE_PX = 1e-5
# Surfaces that are closer than this in the image, or by this part of their depth, touch: float32 rounds as much.
TOUCHING_PX = 1e-3
TOUCHING_DEPTH = 1e-6


class OutsidePoints(NamedTuple):
    """What is seen just outside those silhouette segments that do not have the background there: B points.

    segment: [B] int64 which one. view, face_id: [B] int64. xy_px: [B, 2].
    """

    segment: Tensor
    view: Tensor
    face_id: Tensor
    xy_px: Tensor


class AntialiasPlan(NamedTuple):
    """What an antialiased image is made of.

    samples: one in each plain covered pixel, up to S + 1 in each refined one.
    segments: P silhouette segments that are seen, or touch what is seen; outside: what is seen just outside them.
    edge: [P] int64 which of topology.edges each is on; xy_px: [P, 2] float64 their middles.
    touches: [P] bool; the surface outside passes through the segment, as a floor does through the lower edge of a box
        that stands on it: whether the segment is seen is known from what is inside it only.
    pixel: [R] int64 (n H + i) W + j, ascending: the refined pixels.
    sample_face_id: [R, S] int64 what their samples see, -1 for nothing.
    """

    samples: Samples
    segments: VisibleSegments
    outside: OutsidePoints
    edge: Tensor
    xy_px: Tensor
    touches: Tensor
    pixel: Tensor
    sample_face_id: Tensor


def supersample_silhouettes(
    verts_hom: Tensor,
    topology: Topology,
    raster: Raster,
    offsets: Tensor,
    *,
    near: float = 1e-3,
    extra_pixels: Tensor | None = None,
    jumps: Tensor | None = None,
    backend: str | None = None,
) -> AntialiasPlan:
    """Take S samples in each pixel that a silhouette passes, the centre of the others; find the visible segments.

    Samples are weighted by exact areas where one edge cuts the pixel in two, with one more on a side that has none of
    the S (cut_pixels.py); equally elsewhere. One op for `silhouettes`, `query_visibility` and `gather_samples` one
    after the other, which is how the reference is written. A segment is seen unless something nearer, which does not
    touch it, covers the point OUTSIDE_PX outside of it. Not differentiable.

    verts_hom: [N, V, 4] homogeneous pixel coordinates; topology: of the faces [F, 3].
    raster: their nearest faces, from `rasterize`.
    offsets: [S, 2] where in its pixel each sample is, (x, y) in 0..1; dtype of verts_hom.
    near, backend: as given to `rasterize`.
    extra_pixels: [N, H, W] bool other pixels to refine. jumps: [E] bool as for `silhouettes`.
    """
    tensors = {
        "verts_hom": (verts_hom, "N V 4"),
        "topology.faces": (topology.faces, "int64: F 3"),
        "raster.face_id": (raster.face_id, "int64: N H W K"),
        "raster.depth": (raster.depth, "N H W K"),
        "raster.bins.facing": (raster.bins.facing, "int8: N F"),
        "raster.bins.bounds": (raster.bins.bounds, "int16: N F 4"),
        "raster.bins.tile_offset": (raster.bins.tile_offset, "int64: T"),
        "raster.bins.tile_faces": (raster.bins.tile_faces, "int32: L"),
        "offsets": (offsets, "S 2"),
    }
    if extra_pixels is not None:
        tensors["extra_pixels"] = (extra_pixels, "bool: N H W")
    if jumps is not None:
        tensors["jumps"] = (jumps, "bool: E")
    check_tensors("supersample_silhouettes", **tensors)
    return run_discrete(
        "supersample_silhouettes", backend, verts_hom, topology, raster, offsets, near, extra_pixels, jumps
    )
