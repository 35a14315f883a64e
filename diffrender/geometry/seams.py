"""Seams: where the charts of a texture meet on the surface."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology


class SeamPlaces(NamedTuple):
    """P points along the seams of a surface: the texture coordinates [P, 2] that each has on its two sides."""

    first: Tensor
    second: Tensor


def seam_edges(topology: Topology, uvs: Tensor, uv_faces: Tensor) -> Tensor:
    """Return [S, 2, 2, 2]: uv of [side, end] of every edge between two faces that have other texture coordinates there.

    topology: of faces [F, 3]. uvs: [T, 2]; uv_faces: [F, 3]. Both sides have their ends in the same order.
    Edges with other than two faces are not seams.
    """
    found = uvs[topology.seams(uv_faces)[1]]
    return found[(found[:, 0] != found[:, 1]).flatten(1).any(1)]


def seam_places(topology: Topology, uvs: Tensor, uv_faces: Tensor, height: int, width: int) -> SeamPlaces:
    """Return points along all seams, about a texel of a height x width texture apart."""
    edges = seam_edges(topology, uvs, uv_faces)
    texels = edges * edges.new_tensor([width, height])
    # The longer side counts: the two may be of different scale.
    length = (texels[:, :, 1] - texels[:, :, 0]).norm(dim=2).amax(1) if len(edges) else edges.new_zeros(0)
    count = length.ceil().clamp_min(1).long()
    edge = torch.repeat_interleave(torch.arange(len(edges), device=edges.device), count)
    before = torch.repeat_interleave(count.cumsum(0) - count, count)
    along = (torch.arange(len(edge), device=edges.device) - before + 0.5) / count[edge]
    start, end = edges[edge].unbind(2)
    places = torch.lerp(start, end, along[:, None, None].to(edges))
    return SeamPlaces(places[:, 0].contiguous(), places[:, 1].contiguous())
