"""Silhouettes, visibility and samples in plain PyTorch, one op after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.gather_samples import Samples
from diffrender.ops.gather_samples.reference import forward as gather_samples
from diffrender.ops.query_visibility.reference import forward as query_visibility
from diffrender.ops.rasterize import Raster
from diffrender.ops.reference_raster import covers, depth_of, edge_functions
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.reference import forward as silhouettes
from diffrender.ops.supersample_silhouettes.cut_pixels import weigh_samples
from diffrender.ops.supersample_silhouettes.op import (
    OUTSIDE_PX,
    TOUCHING_DEPTH,
    TOUCHING_PX,
    AntialiasPlan,
    OutsidePoints,
)


def forward(
    verts_hom: Tensor,
    topology: Topology,
    raster: Raster,
    offsets: Tensor,
    near: float,
    extra_pixels: Tensor | None,
    jumps: Tensor | None = None,
) -> AntialiasPlan:
    """See op.supersample_silhouettes."""
    center_face, center_depth, bins = raster.face_id[..., 0], raster.depth[..., 0], raster.bins
    height, width = center_face.shape[1:]
    n_pixels = height * width
    segments = SilhouetteSegments(*silhouettes(verts_hom, topology, bins.facing, center_depth, near, jumps))
    pixel, share, slivers = weigh_samples(segments, extra_pixels, offsets, tuple(center_face.shape))

    corner = torch.stack([pixel % width, pixel // width % height], 1)
    xy = (corner[:, None] + offsets.double()).reshape(-1, 2)
    view = (pixel // n_pixels).repeat_interleave(len(offsets))
    sample_face_id, _ = query_visibility(verts_hom, topology.faces, view, xy, height, width, bins, near)
    sample_face_id = sample_face_id.reshape(len(pixel), len(offsets))
    view = slivers.pixel // n_pixels
    face, _ = query_visibility(verts_hom, topology.faces, view, slivers.xy_px, height, width, bins, near)
    added = slivers.samples(view, face)
    samples = Samples(*gather_samples(center_face, pixel, sample_face_id, offsets, share, added))

    view = segments.pixel // n_pixels
    xy = segments.xy_px + OUTSIDE_PX * torch.nn.functional.normalize(segments.normal_px.double(), dim=1)
    face, depth = query_visibility(verts_hom, topology.faces, view, xy, height, width, bins, near)
    touches = touches_segments(verts_hom, topology.faces, view, face, depth, segments)
    seen = torch.nonzero((face < 0) | (depth >= segments.depth) | touches)[:, 0]
    depth_weight = verts_hom.new_zeros(len(seen))
    visible = VisibleSegments(
        segments.pixel[seen], segments.face[seen], segments.bary[seen], segments.normal_px[seen], depth_weight
    )
    view, face, xy = view[seen], face[seen], xy[seen].to(verts_hom.dtype)
    inner = torch.nonzero(face >= 0)[:, 0]
    outside = OutsidePoints(inner, view[inner], face[inner], xy[inner])
    found = segments.edge[seen], segments.xy_px[seen], touches[seen]
    return AntialiasPlan(samples, visible, outside, *found, pixel, sample_face_id)


def touches_segments(
    verts_hom: Tensor, faces: Tensor, view: Tensor, face: Tensor, depth: Tensor, segments: SilhouetteSegments
) -> Tensor:
    """Return [P] bool: whether the plane of the face outside, at this depth there, passes through each segment."""
    functions = edge_functions(verts_hom, faces)
    shown = face.clamp_min(0)
    x, y = segments.xy_px.unbind(1)
    at_segment = depth_of(verts_hom, faces, view, shown, covers(functions, view, shown, x, y)[1])
    tolerance = TOUCHING_PX / OUTSIDE_PX * (depth - at_segment).abs() + TOUCHING_DEPTH * segments.depth.abs()
    return (face >= 0) & ((at_segment - segments.depth).abs() <= tolerance)
