"""Texture seams: edges where the charts of a texture meet on the surface."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.topology import Topology


class SeamSamples(NamedTuple):
    """Texture coordinates [P, 2] of P positions along the seams of a surface, on either side of the seam."""

    first: Tensor
    second: Tensor


def seam_edges(topology: Topology, uvs: Tensor, uv_faces: Tensor) -> Tensor:
    """Return the uv of every seam, an edge whose two faces have different texture coordinates: [S, side, end, uv].

    topology: of faces [F, 3]. uvs: [T, 2]; uv_faces: [F, 3]. Result: [S, 2, 2, 2]; both sides have their ends in the
    same order. Edges without exactly two faces are not seams.
    """
    found = uvs[topology.seams(uv_faces)[1]]
    return found[(found[:, 0] != found[:, 1]).flatten(1).any(1)]


def sample_seams(topology: Topology, uvs: Tensor, uv_faces: Tensor, height: int, width: int) -> SeamSamples:
    """Sample positions along all seams, about one texel of a height x width texture apart."""
    edges = seam_edges(topology, uvs, uv_faces)
    texels = edges * edges.new_tensor([width, height])
    # The longer side counts, because the scale of the two may differ.
    length = (texels[:, :, 1] - texels[:, :, 0]).norm(dim=2).amax(1) if len(edges) else edges.new_zeros(0)
    count = length.ceil().clamp_min(1).long()
    edge = torch.repeat_interleave(torch.arange(len(edges), device=edges.device), count)
    before = torch.repeat_interleave(count.cumsum(0) - count, count)
    along = (torch.arange(len(edge), device=edges.device) - before + 0.5) / count[edge]
    start, end = edges[edge].unbind(2)
    samples = torch.lerp(start, end, along[:, None, None].to(edges))
    return SeamSamples(samples[:, 0].contiguous(), samples[:, 1].contiguous())
