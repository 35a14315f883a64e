"""Plain PyTorch z-buffer: every pixel in every face's bounds, sorted by depth."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.rasterize.op import FaceBins
from diffrender.ops.reference_raster import bound_faces, covers, depth_of, edge_functions, face_pixel_pairs, nearest


def forward(
    verts_hom: Tensor, faces: Tensor, height: int, width: int, near: float, layers: int
) -> tuple[Tensor, Tensor, FaceBins]:
    """See op.rasterize."""
    n_views = len(verts_hom)
    functions = edge_functions(verts_hom, faces)
    bounds, centers = bound_faces(verts_hom, faces, functions.det, near, height, width)
    facing = torch.where(functions.det > 0, -1, 1).to(torch.int8)
    face_id = faces.new_full((n_views * height * width, layers), -1)
    depth = verts_hom.new_zeros((n_views * height * width, layers))
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for view, face, row, column in face_pixel_pairs(bounds):
        inside, values = covers(functions, view, face, column + 0.5, row + 0.5)
        z = depth_of(verts_hom, faces, view, face, values)
        drawn = inside & (z >= near)
        pixel = (view * height + row) * width + column
        found.append((pixel[drawn], z[drawn], face[drawn]))
    if found:
        pixel, z, face = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept, kept_pixel, rank = nearest(pixel, z, face, layers)
        face_id[kept_pixel, rank] = face[kept]
        depth[kept_pixel, rank] = z[kept].to(depth.dtype)
    shape = (n_views, height, width, layers)
    none = faces.new_empty(0)
    return face_id.reshape(shape), depth.reshape(shape), FaceBins(facing, bounds, centers, none, none.int())
