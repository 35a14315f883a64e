"""Turn shaded samples into an image whose silhouettes have gradients."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable

# A segment whose w is less than this fraction of the terms it is summed from (an edge that runs from far behind the
# camera to the near plane) is only rounding: it is not moved.
LEAST_W = 1e-6


class VisibleSegments(NamedTuple):
    """P visible silhouette segments, across which the image jumps.

    pixel: [P] int64 (n H + i) W + j.
    face, bary: [P] int64, [P, 3]; the middle of the segment as a fixed point of the surface that ends there.
    normal_px, depth_weight: [P, 2], [P]; where that point moves by d in the image (pixels) and by z in depth, the
        silhouette sweeps normal_px . d + depth_weight z of the pixel's area. For the edge of a surface normal_px is the
        outward normal, as long as the segment, and depth_weight is 0; for lines of intersection see ops.intersections.
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
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
    *,
    backend: str | None = None,
) -> Tensor:
    """Turn samples into an image [N, H, W, C + 1] whose silhouettes have gradients; the last channel is coverage.

    A pixel is the weighted mean of its samples, and of the background for the weight that they leave.

    Differentiable in `radiance`, in `background`, and in `verts_hom` through the segments: where a silhouette sweeps an
    area, moving outwards, its pixel gains that area x jump. That is the boundary term of the derivative of the
    box-filtered image (NOTES.md); it is not the derivative of the mean, which is piecewise constant in where the
    samples fall. The derivative inside the surfaces comes through `radiance`. `jump` gets no gradient.

        plan = supersample_silhouettes(verts_hom, topology, raster, offsets)
        radiance = shade(plan.samples)                                          # [M, C]
        jump = colors_on(plan.segments) - colors_outside(plan)                  # [P, C + 1]
        image = antialias(radiance, jump, verts_hom, faces, plan.samples.pixel, plan.samples.weight, plan.segments,
                          background, (n_views, height, width))

    radiance: [M, C] of the samples. It must depend on verts_hom (as by `barycentrics`) for textures to move along.
    jump: [P, C + 1] colour and coverage on the silhouette minus those seen just outside it. Zeros give the right image,
        but surfaces are then pulled by their shading only, and silhouettes do not fit.
    verts_hom: [N, V, 4] homogeneous pixel coordinates, those that the segments were found for.
    faces: [F, 3] int64 into V.
    pixel: [M] int64 (n H + i) W + j, ascending. Not ascending, samples are left out.
    weight: [M] share of its pixel that a sample stands for; of one pixel they sum to at most 1.
    segments: P visible silhouette segments. Each must be there once, or its gradient counts twice.
    background: [C] colour where no sample is.
    size: N, H, W.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for shapes, dtypes or devices that do not agree.
    Source: Li et al. 2018, "Differentiable Monte Carlo ray tracing through edge sampling"; NOTES.md has the derivation.
    """
    check_tensors(
        "antialias",
        radiance=(radiance, "M C"),
        jump=(jump, "P C+1"),
        verts_hom=(verts_hom, f"{size[0]} V 4"),
        faces=(faces, "int64: F 3"),
        pixel=(pixel, "int64: M"),
        weight=(weight, "M"),
        background=(background, "C"),
        **{
            "segments.pixel": (segments.pixel, "int64: P"),
            "segments.face": (segments.face, "int64: P"),
            "segments.bary": (segments.bary, "P 3"),
            "segments.normal_px": (segments.normal_px, "P 2"),
            "segments.depth_weight": (segments.depth_weight, "P"),
        },
    )
    return run_differentiable(
        "antialias", backend, radiance, jump, verts_hom, faces, pixel, weight, segments, background, size
    )
