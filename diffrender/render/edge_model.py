"""EdgeModel: the interface of edge models: which samples an image needs, and how they become pixels with gradients."""

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
    """The discrete part of a render: visibility, without gradients.

    raster: visibility at pixel centres.
    samples: M samples that make up the image.
    segments: P visible silhouette segments, across which the image is discontinuous. segment_view: [P] int64; their
        views.
    outside: the points that are seen just outside them.
    """

    raster: Raster
    samples: Samples
    segments: VisibleSegments
    segment_view: Tensor
    outside: OutsidePoints


class Shaded(NamedTuple):
    """The smooth part of a render: the values of samples and silhouette segments.

    verts_hom: [N, V, 4] homogeneous pixel coordinates.
    values: [M, C] AOVs of the samples.
    jump: [P, C + 1] AOVs and coverage on the silhouette segments minus those just outside them; without gradient.
    background: [C] AOVs of uncovered pixels.
    """

    verts_hom: Tensor
    values: Tensor
    jump: Tensor
    background: Tensor


class EdgeModel(ABC):
    """Base of all edge models: how silhouettes are drawn, and how their motion gets a gradient.

    An edge model is a frozen dataclass; its fields are its options in a scene file. Choose `Antialias`, the default,
    for exact gradients; `Soft` if the start is far from the target; `Hard` for images without gradients at silhouettes.
    A new one is listed in `render.edge_models.EDGE_MODELS`, and config/options has its options.
    """

    @abstractmethod
    def visible(
        self,
        verts_hom: Tensor,
        topology: Topology,
        raster: Raster,
        near: float,
        backend: str | None,
        jumps: Tensor | None = None,
    ) -> Visible:
        """Return the samples and silhouette segments that the image needs, given what the pixel centres see.

        jumps: [E] bool; edges of the topology across which the surface changes its colour abruptly.
        """

    @abstractmethod
    def image(self, shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
        """Return the image [N, H, W, C + 1]: AOVs over the background, and coverage."""


def resolve(shaded: Shaded, topology: Topology, visible: Visible, backend: str | None) -> Tensor:
    """Return the image [N, H, W, C + 1]: the mean of each pixel's samples, with gradients across silhouette segments.

    Edge models build on it.
    """
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
