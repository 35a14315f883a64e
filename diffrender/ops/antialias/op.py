"""The op `antialias`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_index, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation

# A piece of outline whose w is less than this fraction of the terms it is summed from (an edge that runs from far
# behind the camera to the near plane) is only rounding: it is not moved.
LEAST_W = 1e-6


class VisibleSegments(NamedTuple):
    """P visible pieces of outlines, across which the image jumps.

    pixel: [P] int64 (n H + i) W + j.
    face, bary: [P] int64, [P, 3]; the middle of the piece as a fixed point of the surface that ends there.
    normal_px, depth_weight: [P, 2], [P]; where that point moves by d in the image (pixels) and by z in depth, the
        outline sweeps normal_px . d + depth_weight z of the pixel's area. For the edge of a surface normal_px is the
        outward normal, as long as the piece, and depth_weight is 0; for lines of intersection see ops.intersections.
    """

    pixel: Tensor
    face: Tensor
    bary: Tensor
    normal_px: Tensor
    depth_weight: Tensor


def antialias(
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    outlines: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
    *,
    backend: str | None = None,
) -> Tensor:
    """Image [N, H, W, C + 1]: the weighted mean of each pixel's samples and the background, and the samples' coverage.

    Differentiable in `radiance`, in `background`, and in `verts_hom` through the outlines: where an outline sweeps an
    area, moving outwards, its pixel gains that area x jump. That is the boundary term of the derivative of the
    box-filtered image (NOTES.md); it is not the derivative of the mean, which is piecewise constant in where the
    samples fall. The derivative inside the surfaces comes through `radiance`. `jump` gets no gradient.

    radiance: [M, C] of the samples.
    jump: [P, C + 1] colour and coverage on the outline minus those seen just outside it.
    verts_hom: [N, V, 4] homogeneous pixel coordinates; faces: [F, 3] int64.
    pixel: [M] int64 (n H + i) W + j, ascending.
    weight: [M] share of its pixel that a sample stands for.
    background: [C] colour where no sample is.
    size: N, H, W.
    """
    check_shape("antialias", "radiance", radiance, ("M", "C"))
    check_float("antialias", "radiance", radiance)
    check_shape("antialias", "verts_hom", verts_hom, (size[0], "V", 4))
    check_shape("antialias", "faces", faces, ("F", 3))
    check_index("antialias", "faces", faces)
    check_shape("antialias", "pixel", pixel, (len(radiance),))
    check_index("antialias", "pixel", pixel)
    check_shape("antialias", "weight", weight, (len(radiance),))
    check_shape("antialias", "jump", jump, (len(outlines.pixel), radiance.shape[1] + 1))
    check_shape("antialias", "background", background, (radiance.shape[1],))
    check_same_device("antialias", radiance=radiance, verts_hom=verts_hom, faces=faces, pixel=pixel)
    check_same_dtype(
        "antialias", radiance=radiance, jump=jump, verts_hom=verts_hom, weight=weight, background=background
    )
    name, module = implementation("antialias", radiance.device, backend)
    if name == "reference":
        return module.forward(radiance, jump, verts_hom, faces, pixel, weight, outlines, background, size)
    return _Antialias.apply(radiance, jump, verts_hom, faces, pixel, weight, background, size, module, *outlines)  # type: ignore[return-value]


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        radiance: Tensor,
        jump: Tensor,
        verts_hom: Tensor,
        faces: Tensor,
        pixel: Tensor,
        weight: Tensor,
        background: Tensor,
        size: tuple[int, int, int],
        module: Any,
        *outlines: Tensor,
    ) -> Tensor:
        image = module.forward(radiance, pixel, weight, background, size)
        ctx.save_for_backward(jump, verts_hom, faces, pixel, weight, *outlines)
        ctx.module = module
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        jump, verts_hom, faces, pixel, weight, *outlines = ctx.saved_tensors
        grad_radiance = grad_verts = grad_background = None
        grad_image = grad_image.contiguous()
        if ctx.needs_input_grad[0]:
            grad_radiance = ctx.module.backward_radiance(grad_image, pixel, weight)
        if ctx.needs_input_grad[2]:
            grad_verts = ctx.module.backward_verts(grad_image, jump, verts_hom, faces, VisibleSegments(*outlines))
        if ctx.needs_input_grad[6]:
            grad_background = ctx.module.backward_background(grad_image, pixel, weight)
        nothing = (None,) * (2 + len(outlines))
        return grad_radiance, None, grad_verts, None, None, None, grad_background, *nothing
