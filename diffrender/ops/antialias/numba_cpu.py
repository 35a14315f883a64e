"""The antialiased image and its gradient on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.antialias.op import LEAST_W, VisibleSegments
from diffrender.ops.as_numpy import COLOR, as_numpy
from diffrender.ops.scatter import sum_into
from diffrender.ops.tangents import count_tangents
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, forceinline=True)
def resolve_channels(start, end, n_channels, radiance, pixel, weight, background, image):
    """Do as resolve(), for a known number of channels."""
    m = np.searchsorted(pixel, start)
    for row in range(start, end):
        for c in range(n_channels):
            image[row, c] = background[c]
        image[row, n_channels] = 0
        while m < len(pixel) and pixel[m] == row:
            share = weight[m]
            for c in range(n_channels):
                image[row, c] += share * (radiance[m, c] - background[c])
            image[row, n_channels] += share
            m += 1


@njit(nogil=True, cache=True)
def resolve(start, end, radiance, pixel, weight, background, image):
    """Write the pixels start..end-1: the background, and the samples of each over it. `pixel` is ascending."""
    if radiance.shape[1] == COLOR:  # known to the compiler, the loops over channels vanish
        resolve_channels(start, end, COLOR, radiance, pixel, weight, background, image)
    else:
        resolve_channels(start, end, radiance.shape[1], radiance, pixel, weight, background, image)


@njit(nogil=True, cache=True, forceinline=True)
def scatter_channels(start, end, n_channels, grad_image, pixel, weight, grad_radiance):
    """Do as scatter_rows(), for a known number of channels."""
    for m in range(start, end):
        row = pixel[m]
        share = weight[m]
        for c in range(n_channels):
            grad_radiance[m, c] = share * grad_image[row, c]


@njit(nogil=True, cache=True)
def scatter_rows(start, end, grad_image, pixel, weight, grad_radiance):
    """Write the gradient with respect to the samples start..end-1."""
    if grad_radiance.shape[1] == COLOR:
        scatter_channels(start, end, COLOR, grad_image, pixel, weight, grad_radiance)
    else:
        scatter_channels(start, end, grad_radiance.shape[1], grad_image, pixel, weight, grad_radiance)


@njit(nogil=True, cache=True, forceinline=True)
def sweep_of(p, worth, view, verts, faces, face_id, bary, normal, depth_weight):
    """Return what moving the middle of segment p sweeps, times `worth`: its derivatives by x w, y w, w and depth there.

    The middle is at (x / w, y / w); what it sweeps is worth `worth` per square pixel. Zero where it is only rounding.
    """
    x, y, w, size = 0.0, 0.0, 0.0, 0.0
    face = face_id[p]
    for corner in range(3):
        share = np.float64(bary[p, corner])
        x += share * verts[view, faces[face, corner], 0]
        y += share * verts[view, faces[face, corner], 1]
        w += share * verts[view, faces[face, corner], 2]
        size += abs(share * verts[view, faces[face, corner], 2])
    if not w > LEAST_W * size:
        return 0.0, 0.0, 0.0, 0.0
    gx, gy = worth * normal[p, 0] / w, worth * normal[p, 1] / w
    return gx, gy, -(gx * x + gy * y) / w, worth * depth_weight[p]


@njit(nogil=True, cache=True)
def add_segment_gradient(
    start, end, total, grad_image, jump, verts, faces, n_pixels, pixel, face_id, bary, normal, depth_weight
):  # fmt: skip
    """Add the gradient of the segments start..end-1 to total [N, V, 4]."""
    for p in range(start, end):
        row = pixel[p]
        worth = 0.0
        for c in range(jump.shape[1]):
            worth += grad_image[row, c] * jump[p, c]
        view = row // n_pixels
        face = face_id[p]
        gx, gy, gw, gz = sweep_of(p, worth, view, verts, faces, face_id, bary, normal, depth_weight)
        for corner in range(3):
            share = np.float64(bary[p, corner])
            if share != 0.0:
                vertex = faces[face, corner]
                total[view, vertex, 0] += share * gx
                total[view, vertex, 1] += share * gy
                total[view, vertex, 2] += share * gw
                total[view, vertex, 3] += share * gz


def forward(
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
) -> Tensor:
    """See op.antialias; segments have a gradient and no value."""
    image = memory.empty((*size, radiance.shape[1] + 1), radiance.dtype)
    flat = image.numpy().reshape(-1, image.shape[-1])
    parallel_for(resolve, len(flat), 32768, *as_numpy(radiance, pixel, weight, background), flat)
    return image


def backward(
    grad_image: Tensor,
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_radiance, _, wants_verts, _, _, _, _, wants_background, _ = wants
    grad_image = grad_image.contiguous()
    grad_radiance = grad_verts = grad_background = None
    if wants_radiance:
        grad_radiance = radiance_gradient(grad_image, pixel, weight)
    if wants_verts:
        grad_verts = segment_gradient(grad_image, jump, verts_hom, faces, segments)
    if wants_background:  # everything but what the samples cover
        covered = radiance_gradient(grad_image, pixel, weight).sum(0)
        grad_background = grad_image[..., :-1].sum((0, 1, 2)) - covered
    return grad_radiance, None, grad_verts, None, None, None, None, grad_background, None


def radiance_gradient(grad_image: Tensor, pixel: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient with respect to radiance [M, C]."""
    flat = grad_image.numpy().reshape(-1, grad_image.shape[-1])
    grad_radiance = memory.empty((len(pixel), flat.shape[1] - 1), grad_image.dtype)
    parallel_for(scatter_rows, len(pixel), 65536, flat, *as_numpy(pixel, weight), grad_radiance.numpy())
    return grad_radiance


def segment_gradient(
    grad_image: Tensor, jump: Tensor, verts_hom: Tensor, faces: Tensor, segments: VisibleSegments
) -> Tensor:
    """Return the gradient with respect to verts_hom [N, V, 4] of the area that segments sweep, times its jump."""
    flat = grad_image.numpy().reshape(-1, grad_image.shape[-1])
    n_pixels = grad_image.shape[1] * grad_image.shape[2]
    scene = as_numpy(jump, verts_hom, faces)
    return sum_into(
        tuple(verts_hom.shape), verts_hom.dtype, len(segments.pixel), add_segment_gradient,
        flat, *scene, n_pixels, *as_numpy(*segments),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def sweep_areas(start, end, d_verts, verts, faces, n_pixels, pixel, face_id, bary, normal, depth_weight, areas):
    """Write the areas [K, P] that the segments start..end-1 sweep as the vertices move by their tangents."""
    for p in range(start, end):
        view, face = pixel[p] // n_pixels, face_id[p]
        gx, gy, gw, gz = sweep_of(p, 1.0, view, verts, faces, face_id, bary, normal, depth_weight)
        for k in range(len(areas)):
            area = 0.0
            for corner in range(3):
                share, vertex = np.float64(bary[p, corner]), faces[face, corner]
                if share != 0.0:
                    planar = gx * d_verts[k, view, vertex, 0] + gy * d_verts[k, view, vertex, 1]
                    area += share * (planar + gw * d_verts[k, view, vertex, 2] + gz * d_verts[k, view, vertex, 3])
            areas[k, p] = area


@njit(nogil=True, cache=True)
def add_swept(start, end, areas, jump, pixel, images):
    """Add to the images start..end-1 of [K, pixels, C + 1] the areas [K, P] that segments sweep, times their jump."""
    for k in range(start, end):
        for p in range(len(pixel)):
            for c in range(jump.shape[1]):
                images[k, pixel[p], c] += areas[k, p] * jump[p, c]


def jvp(
    tangents: Sequence[Tensor | None],
    radiance: Tensor,
    jump: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    pixel: Tensor,
    weight: Tensor,
    segments: VisibleSegments,
    background: Tensor,
    size: tuple[int, int, int],
) -> Tensor:
    """See run_differentiable; the image is linear in radiance and background, and their coverage stays."""
    of_radiance, of_verts, of_background = (
        part.new_zeros(()).expand(count_tangents(tangents), *part.shape) if tangent is None else tangent
        for tangent, part in ((tangents[0], radiance), (tangents[2], verts_hom), (tangents[7], background))
    )
    images = memory.empty((len(of_verts), *size, radiance.shape[1] + 1), radiance.dtype)
    flat = images.numpy().reshape(len(images), -1, images.shape[-1])
    for k, rows in enumerate(flat):
        parallel_for(resolve, len(rows), 32768, *as_numpy(of_radiance[k], pixel, weight, of_background[k]), rows)
    images[..., -1] = 0
    if tangents[2] is not None:
        areas = as_numpy(swept_areas(of_verts, verts_hom, faces, segments, size[1] * size[2]))
        parallel_for(add_swept, len(flat), 1, *areas, *as_numpy(jump, segments.pixel), flat)
    return images


def swept_areas(of_verts: Tensor, verts_hom: Tensor, faces: Tensor, segments: VisibleSegments, n_pixels: int) -> Tensor:
    """Return the areas [K, P] that segments sweep as verts_hom moves by each of its tangents [K, N, V, 4]."""
    areas = memory.empty((len(of_verts), len(segments.pixel)), verts_hom.dtype)
    scene = as_numpy(of_verts, verts_hom, faces)
    parallel_for(sweep_areas, len(segments.pixel), 4096, *scene, n_pixels, *as_numpy(*segments), areas.numpy())
    return areas
