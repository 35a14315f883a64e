"""Find the nearest faces at every pixel centre."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_discrete

# Half a pixel and a thousandth, so that rounding misses no centre that a face covers.
AROUND_CENTER = 0.501
# Pixel bounds of faces are kept in 16 bits.
LARGEST_IMAGE = 32767


class FaceBins(NamedTuple):
    """What is known of each face on the screen; later ops on the same faces reuse it.

    facing: [N, F] int8; 1 where the front is seen, from which the corners run counter-clockwise, or the face is
        exactly edge-on; -1 where the back is.
    bounds: [N, F, 4] int16; first column, first row, last column, last row of the pixels that the face may touch; the
        last column is before the first for faces that touch none.
    centers: [N, F, 4] int16; the same of the pixels whose centres the face may cover.
    tile_offset: [N * tiles + 1] int64 and tile_faces: int32; the faces of tile t, in ascending order, are
        tile_faces[tile_offset[t] : tile_offset[t + 1]]. Both are empty where the implementation uses no tiles.
    """

    facing: Tensor
    bounds: Tensor
    centers: Tensor
    tile_offset: Tensor
    tile_faces: Tensor


class Raster(NamedTuple):
    """What the centre of each pixel sees, nearest first.

    face_id: [N, H, W, K] int64; `face_id[n, i, j, k] = f` means that the k-th nearest face at the centre of pixel
        (i, j) of view n is faces[f]; -1 where there are fewer.
    depth: [N, H, W, K] camera depth, 0 where face_id is -1.
    bins: for other ops on the same faces.
    """

    face_id: Tensor
    depth: Tensor
    bins: FaceBins


def rasterize(
    verts_hom: Tensor,
    faces: Tensor,
    height: int,
    width: int,
    *,
    near: float = 1e-3,
    layers: int = 1,
    backend: str | None = None,
) -> Raster:
    """Find the K = `layers` nearest faces at every pixel centre.

    A point is covered by a face if its perspective-correct barycentric coordinates there are non-negative and its
    depth is at least `near`: faces that cross the camera plane are clipped exactly. On an edge the top-left rule
    decides, so faces that share an edge cover each pixel once. Of equally deep faces the one with the lower index is
    nearer. Faces without area cover nothing. Both sides of a face are drawn.

    Not differentiable: which face is seen is discrete. Where on it a pixel looks is smooth (`barycentrics`), and so is
    how silhouettes move (`antialias`).

        raster = rasterize(cameras.project(vertices), faces, 480, 640)
        n, i, j = torch.nonzero(raster.face_id[..., 0] >= 0, as_tuple=True)     # the M covered pixels
        centers = torch.stack([j, i], 1) + 0.5                                  # [M, 2] (x, y) in pixels
        depth = raster.depth[n, i, j, 0]                                        # [M]

    verts_hom: [N, V, 4] homogeneous pixel coordinates (x w, y w, w, depth), float32 or float64. Do not divide by w:
        surfaces would be drawn without perspective, and faces that pass the camera plane mirrored.
    faces: [F, 3] int64 into V. Indices are not checked: others than 0..V-1 read foreign memory, which gives a wrong
        image or ends the process.
    height, width: size of the image in pixels, at most 32767.
    near: the smallest depth drawn, in units of the world.
    layers: 1 is quickest, since faces behind others are skipped; more where something is to be seen through.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for shapes, dtypes or devices that do not agree, and for sizes out of range.
    Source: Olano & Greer 1997 (homogeneous edge functions).
    """
    check_tensors("rasterize", verts_hom=(verts_hom, "N V 4"), faces=(faces, "int64: F 3"))
    if not (1 <= height <= LARGEST_IMAGE and 1 <= width <= LARGEST_IMAGE):
        raise ShapeError(f"rasterize: height and width must be in 1..{LARGEST_IMAGE}, got {height} x {width}")
    if layers < 1:
        raise ShapeError(f"rasterize: layers must be at least 1, got {layers}")
    return Raster(*run_discrete("rasterize", backend, verts_hom, faces, height, width, near, layers))
