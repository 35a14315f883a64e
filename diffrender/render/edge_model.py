"""What an edge model is: which points of the scene an image needs, and how they become pixels with gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import Outlines
from diffrender.ops.rasterize import Raster
from diffrender.render.fragments import Fragments


@dataclass(frozen=True)
class Visible:
    """The discrete part of a render: what is seen where, without gradients.

    raster: what the pixel centres see.
    fragments: M samples that make up the image.
    outlines: P pieces of visible outlines, across which the image jumps.
    beyond: what is seen just outside each piece; P fragments (their weight means nothing), face_id -1 for background.
    """

    raster: Raster
    fragments: Fragments
    outlines: Outlines
    beyond: Fragments


class EdgeModel(ABC):
    """Base of all edge models: a frozen dataclass whose fields are its options in scene.yaml."""

    @abstractmethod
    def visible(self, verts_hom: Tensor, topology: Topology, raster: Raster, near: float, backend: str | None) -> Visible:
        """Which samples and outlines the image needs, given what the pixel centres see."""

    @abstractmethod
    def image(
        self,
        radiance: Tensor,
        jump: Tensor,
        verts_hom: Tensor,
        topology: Topology,
        visible: Visible,
        backend: str | None,
    ) -> Tensor:
        """[N, H, W, C + 1] premultiplied colour and coverage, from the radiance [M, C] of the samples.

        jump: [P, C + 1] premultiplied colour and coverage on the outlines minus those just outside them.
        """
