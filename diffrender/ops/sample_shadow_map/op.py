"""Sample how much of a light each point sees, past what a shadow map holds."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable


class Occluders(NamedTuple):
    """P silhouette segments that a shadow map shows: where shadows begin.

    pixel: [P] int64 (l H + i) W + j, ascending.
    face, bary: [P], [P, 3]; the middle of the segment as a fixed point of the surface that ends there.
    normal_px: [P, 2] outward normal, as long as the segment.
    front, outside: [P] depth of that surface there, and of what is seen just outside it: infinite where nothing is.
    """

    pixel: Tensor
    face: Tensor
    bary: Tensor
    normal_px: Tensor
    front: Tensor
    outside: Tensor


def sample_shadow_map(
    map_depth: Tensor,
    map_id: Tensor,
    xy_px: Tensor,
    depth: Tensor,
    slope: Tensor,
    bias: Tensor,
    radius: int,
    occluders: Occluders,
    verts_hom: Tensor,
    faces: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Return the part [M], 0..1, of the map around each point that nothing covers before the point's surface.

    Texels count by a tent of half-width `radius` around xy_px; one is lit unless its depth is less, by more than the
    bias, than that of the plane through the point: depth + slope . (texel - xy_px). Outside of the map all is lit.
    "Depth" may be anything that grows along rays from the light and is linear across a plane's image: camera depth for
    parallel rays, -1 / depth for those from a point.

    Differentiable in `xy_px`, and in `verts_hom` through the occluders: where a silhouette sweeps an area, moving
    outwards, points whose surface is behind it, and not behind what it covers, lose the area times the tent there
    (NOTES.md). In nothing else: depths only decide. Without occluders the gradient lacks how shadows move.

        xy_px = point[:, :2] / point[:, 2:] * focal_px + center_px          # point [M, 3] as the light sees it
        lit = sample_shadow_map(map_depth, map_id, xy_px, depth, slope, bias, 2, occluders, verts_hom, faces)
        color = color * lit[:, None]

    map_depth: [L, H, W] what each texel of L maps sees, infinite where nothing.
    map_id: [M] int64 the map of each point.
    xy_px: [M, 2] its (x, y) there, in texels; texel (i, j) is at (j + 0.5, i + 0.5).
    depth: [M] of the point, in the map's measure.
    slope: [M, 2] how much that measure grows per texel along the point's surface. Zero, slanting surfaces shade
        themselves in stripes.
    bias: [M] in the map's measure. Too small gives the same stripes on curved surfaces, too large detaches shadows from
        what casts them; 1.5 texels' worth is usual.
    radius: half the width of the soft edge, in texels, at least 1; the cost grows with its square.
    occluders: the silhouette segments in the maps; none where only xy_px needs a gradient.
    verts_hom: [L, V, 4] homogeneous pixel coordinates in the maps.
    faces: [F, 3] int64 into V.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for shapes, dtypes or devices that do not agree, and for a radius below 1.
    """
    check_tensors(
        "sample_shadow_map",
        map_depth=(map_depth, "L H W"),
        map_id=(map_id, "int64: M"),
        xy_px=(xy_px, "M 2"),
        depth=(depth, "M"),
        slope=(slope, "M 2"),
        bias=(bias, "M"),
        verts_hom=(verts_hom, "L V 4"),
        faces=(faces, "int64: F 3"),
        **{
            "occluders.pixel": (occluders.pixel, "int64: P"),
            "occluders.face": (occluders.face, "int64: P"),
            "occluders.bary": (occluders.bary, "P 3"),
            "occluders.normal_px": (occluders.normal_px, "P 2"),
            "occluders.front": (occluders.front, "P"),
            "occluders.outside": (occluders.outside, "P"),
        },
    )
    if radius < 1:
        raise ShapeError(f"sample_shadow_map: radius must be at least 1 texel, got {radius}")
    points = (map_depth.detach(), map_id, xy_px, depth.detach(), slope.detach(), bias.detach())
    return run_differentiable("sample_shadow_map", backend, *points, radius, occluders, verts_hom, faces)
