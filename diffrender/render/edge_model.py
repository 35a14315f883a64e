"""What an edge model is: which points of the scene an image needs, and how they become pixels with gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments, antialias
from diffrender.ops.gather_samples import Samples
from diffrender.ops.rasterize import Raster
from diffrender.ops.supersample_silhouettes import OutsidePoints


class Visible(NamedTuple):
    """The discrete part of a render: what is seen where, without gradients.

    raster: what the pixel centres see.
    samples: M samples that make up the image.
    segments: P visible silhouette segments, across which the image jumps; segment_view: [P] int64 their views.
    outside: what is seen just outside them.
    """

    raster: Raster
    samples: Samples
    segments: VisibleSegments
    segment_view: Tensor
    outside: OutsidePoints


class Shaded(NamedTuple):
    """The smooth part of a render: what the samples and silhouettes look like.

    verts_hom: [N, V, 4] homogeneous pixel coordinates.
    values: [M, C] the buffers of the samples.
    jump: [P, C + 1] buffers and coverage on the silhouettes minus those just outside them; without gradient.
    background: [C] what lies behind everything.
    """

    verts_hom: Tensor
    values: Tensor
    jump: Tensor
    background: Tensor


class EdgeModel(ABC):
    """Base of all edge models: a frozen dataclass whose fields are its options in scene.yaml."""

    @abstractmethod
    def visible(
        self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None
    ) -> Visible:
        """Return the samples and silhouette segments that the image needs, given what the pixel centres see."""

    @abstractmethod
    def image(self, shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
        """[N, H, W, C + 1] colour over the background, and coverage."""


def resolve(shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
    """[N, H, W, C + 1]: each pixel the mean of its samples, moved by the silhouettes. Most edge models build on it."""
    n_views, height, width = visible.raster.face_id.shape[:3]
    return antialias(
        shaded.values,
        shaded.jump,
        shaded.verts_hom,
        topology.faces,
        visible.samples.pixel,
        visible.samples.weight,
        visible.segments,
        shaded.background,
        (n_views, height, width),
        backend=backend,
    )
