"""The op `sample_shadow_map`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.backend import implementation


class Occluders(NamedTuple):
    """P pieces of the outlines that a shadow map shows: where shadows begin.

    pixel: [P] int64 (l H + i) W + j, ascending.
    face, bary: [P], [P, 3]; the middle of the piece as a fixed point of the surface that ends there.
    normal_px: [P, 2] outward normal, as long as the piece.
    front, beyond: [P] depth of that surface there, and of what is seen just outside it: infinite where nothing is.
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
    """[M] in 0..1: the part of the map around each point's place that nothing covers before the point's surface.

    Texels count by a tent of half-width `radius` around the place; one is lit unless its depth is less, by more than
    the bias, than that of the plane through the point: depth + slope . (texel - place). Beyond the map all is lit.
    "Depth" may be anything that grows along rays from the light and is linear across a plane's image: camera depth for
    parallel rays, -1 / depth for those from a point.

    Differentiable in `xy_px`, and in `verts_hom` through the occluders: where an outline sweeps an area, moving
    outwards, points whose surface lies behind it, and not behind what it covers, lose the area times the tent there
    (NOTES.md). In nothing else: depths only decide.

    map_depth: [L, H, W] what each texel of L maps sees, infinite where nothing.
    map_id: [M] int64 the map of each point. xy_px: [M, 2] its (x, y) there; texel (i, j) is at (j + .5, i + .5).
    depth, bias: [M]. slope: [M, 2] per pixel. radius: in texels, at least 1.
    verts_hom: [L, V, 4] homogeneous pixel coordinates in the maps; faces: [F, 3].
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
    name, module = implementation("sample_shadow_map", map_depth.device, backend)
    points = (map_depth.detach(), map_id, xy_px, depth.detach(), slope.detach(), bias.detach())
    if name == "reference":
        return module.forward(*points, radius, occluders, verts_hom, faces)
    return _Shadow.apply(*points, radius, verts_hom, faces, module, *occluders)  # type: ignore[return-value]


class _Shadow(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        map_depth: Tensor,
        map_id: Tensor,
        xy_px: Tensor,
        depth: Tensor,
        slope: Tensor,
        bias: Tensor,
        radius: int,
        verts_hom: Tensor,
        faces: Tensor,
        module: Any,
        *occluders: Tensor,
    ) -> Tensor:
        points = (map_depth, map_id, xy_px, depth, slope, bias)
        visible = module.forward(*points, radius)
        ctx.save_for_backward(*points, visible, verts_hom, faces, *occluders)
        ctx.radius, ctx.module = radius, module
        return visible

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        *points, visible, verts_hom, faces = ctx.saved_tensors[:9]
        occluders = Occluders(*ctx.saved_tensors[9:])
        wants = (ctx.needs_input_grad[2], ctx.needs_input_grad[7])
        grad_xy, grad_verts = ctx.module.backward(
            grad, *points, ctx.radius, occluders, verts_hom, faces, visible, wants
        )
        nothing = (None,) * (2 + len(occluders))
        return None, None, grad_xy, None, None, None, None, grad_verts, *nothing
