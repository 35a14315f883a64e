"""Outlines, probes and samples in plain PyTorch, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.gather_samples import Samples
from diffrender.ops.gather_samples.reference import forward as collect
from diffrender.ops.query_visibility.reference import forward as probe
from diffrender.ops.rasterize import Raster
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.reference import forward as contours
from diffrender.ops.supersample_silhouettes.op import BEYOND_PX, AntialiasPlan, OutsidePoints


def forward(
    verts_hom: Tensor, topology: Topology, raster: Raster, offsets: Tensor, near: float, extra_pixels: Tensor | None
) -> AntialiasPlan:
    """See op.refine."""
    center_face, center_depth, bins = raster.face_id[..., 0], raster.depth[..., 0], raster.bins
    height, width = center_face.shape[1:]
    n_pixels = height * width
    lines = SilhouetteSegments(*contours(verts_hom, topology, bins.facing, center_depth, near))
    is_refined = torch.zeros(center_face.numel(), dtype=torch.bool, device=center_face.device)
    if extra_pixels is not None:
        is_refined |= extra_pixels.reshape(-1)
    is_refined[lines.pixel] = True
    pixel = torch.nonzero(is_refined)[:, 0]

    corner = torch.stack([pixel % width, pixel // width % height], 1)
    place = (corner[:, None] + offsets.double()).reshape(-1, 2)
    view = (pixel // n_pixels).repeat_interleave(len(offsets))
    sample_face_id, _ = probe(verts_hom, topology.faces, view, place, height, width, bins, near)
    sample_face_id = sample_face_id.reshape(len(pixel), len(offsets))
    samples = Samples(*collect(center_face, pixel, sample_face_id, offsets))

    view = lines.pixel // n_pixels
    place = lines.xy_px + BEYOND_PX * torch.nn.functional.normalize(lines.normal_px.double(), dim=1)
    face, depth = probe(verts_hom, topology.faces, view, place, height, width, bins, near)
    seen = torch.nonzero((face < 0) | (depth >= lines.depth))[:, 0]
    depth_weight = verts_hom.new_zeros(len(seen))
    outlines = VisibleSegments(
        lines.pixel[seen], lines.face[seen], lines.bary[seen], lines.normal_px[seen], depth_weight
    )
    view, face, place = view[seen], face[seen], place[seen].to(verts_hom.dtype)
    inner = torch.nonzero(face >= 0)[:, 0]
    return AntialiasPlan(
        samples, outlines, OutsidePoints(inner, view[inner], face[inner], place[inner]), pixel, sample_face_id
    )
