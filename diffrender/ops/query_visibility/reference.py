"""Visibility in plain PyTorch: every point in a pixel of every face's bounds, sorted by depth."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.rasterize.op import FaceBins
from diffrender.ops.reference_raster import covers, depth_of, edge_functions, face_pixel_pairs, nearest


def forward(
    verts_hom: Tensor,
    faces: Tensor,
    view: Tensor,
    xy_px: Tensor,
    height: int,
    width: int,
    bins: FaceBins,
    near: float,
    part: Tensor | None = None,
    ignored: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See op.query_visibility."""
    functions = edge_functions(verts_hom, faces)
    face_id = faces.new_full((len(xy_px),), -1)
    depth = xy_px.new_zeros(len(xy_px))
    # The nearest pixel; clamped first, because what is too large for an integer becomes any.
    column = xy_px[:, 0].nan_to_num(0).clamp(0, width - 1).floor().long()
    row = xy_px[:, 1].nan_to_num(0).clamp(0, height - 1).floor().long()
    # The points sorted by pixel: those of pixel p are order[first[p] : first[p + 1]].
    point_pixel = (view * height + row) * width + column
    order = point_pixel.argsort(stable=True)
    count = torch.bincount(point_pixel, minlength=len(verts_hom) * height * width)
    first = count.cumsum(0) - count
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for pair_view, pair_face, pair_row, pair_column in face_pixel_pairs(bins.bounds):
        pixel = (pair_view * height + pair_row) * width + pair_column
        n_points = count[pixel]
        pair = torch.arange(len(pixel), device=pixel.device).repeat_interleave(n_points)
        within = torch.arange(len(pair), device=pixel.device) - (n_points.cumsum(0) - n_points)[pair]
        point = order[first[pixel[pair]] + within]
        face = pair_face[pair]
        xy = xy_px[point].double()
        inside, values = covers(functions, pair_view[pair], face, xy[:, 0], xy[:, 1])
        z = depth_of(verts_hom, faces, pair_view[pair], face, values)
        drawn = inside & (z >= near)
        if part is not None and ignored is not None:
            drawn &= part[face] != ignored[point]
        found.append((point[drawn], z[drawn], face[drawn]))
    if found:
        point, z, face = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept, kept_point, _ = nearest(point, z, face, 1)
        face_id[kept_point] = face[kept]
        depth[kept_point] = z[kept].to(depth.dtype)
    return face_id, depth
