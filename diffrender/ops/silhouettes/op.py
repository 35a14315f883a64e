"""Find the silhouettes of a mesh in the image, as short segments."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.geometry.topology import Topology
from diffrender.ops.differentiable import run_discrete

# Greatest length of a segment, in pixels: short against a pixel, so that the pixel of its middle may stand for all of
# it, and so that visibility is decided finely enough.
SEGMENT_PX = 0.25
# A segment is dropped early if all nine pixels around it see something nearer by this fraction of its depth.
HIDDEN_MARGIN = 0.05


class SilhouetteSegments(NamedTuple):
    """P short silhouette segments, at most SEGMENT_PX long each.

    pixel: [P] int64 (n H + i) W + j of the pixel that holds the middle of the segment.
    face: [P] int64 a face that ends at this silhouette, its front where there is one.
    bary: [P, 3] perspective-correct coordinates of the middle in that face; on an edge, so one of the three is 0.
    xy_px: [P, 2] float64 the middle (x, y) in pixels.
    normal_px: [P, 2] outward normal in the image, as long as the segment, in pixels.
    depth: [P] float64 camera depth of the middle.
    edge: [P] int64 which of `topology.edges`.
    """

    pixel: Tensor
    face: Tensor
    bary: Tensor
    xy_px: Tensor
    normal_px: Tensor
    depth: Tensor
    edge: Tensor


def silhouettes(
    verts_hom: Tensor,
    topology: Topology,
    facing: Tensor,
    depth: Tensor,
    *,
    near: float = 1e-3,
    jumps: Tensor | None = None,
    backend: str | None = None,
) -> SilhouetteSegments:
    """Find the silhouettes of a mesh in each view: edges all of whose faces are on one side of them in the image.

    These are the edges between front and back faces, and the boundaries of open meshes. Segments that are plainly
    hidden (behind everything in the 3 x 3 pixels around them) are not listed; others may still be hidden. Ordered by
    view, then edge, then along the edge. Not differentiable: the list is discrete.

    verts_hom: [N, V, 4] homogeneous pixel coordinates.
    topology: of the faces [F, 3].
    facing: [N, F] int8 as in FaceBins.
    depth: [N, H, W] depth of the nearest face at pixel centres, 0 where there is none.
    near, backend: as given to `rasterize`.
    jumps: [E] bool; edges between two faces that are also listed where the surface goes on behind them, because its
        colour changes there; their face is the first front one.
    """
    tensors = {
        "verts_hom": (verts_hom, "N V 4"),
        "topology.faces": (topology.faces, "int64: F 3"),
        "facing": (facing, "int8: N F"),
        "depth": (depth, "N H W"),
    }
    if jumps is not None:
        tensors["jumps"] = (jumps, "bool: E")
    check_tensors("silhouettes", **tensors)
    return SilhouetteSegments(*run_discrete("silhouettes", backend, verts_hom, topology, facing, depth, near, jumps))
