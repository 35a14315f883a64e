"""The uniform (umbrella) Laplacian of a mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.checks import check_indices_below, check_shape


def laplacian_vectors(vertices: Tensor, edges: Tensor) -> Tensor:
    """Return the mean of the neighbours minus the vertex: [V, C] for vertices [V, C]; zero at vertices without edges.

    vertices: [V, C] float, positions or any other vertex attribute.
    edges: [E, 2] int64, each undirected edge once; `edges[e] = (a, b)` joins vertices a and b.
    Differentiable in vertices; on CPU value and gradient are bitwise independent of the number of threads.
    Raises ShapeError for other shapes and indices out of range.
    Source: G. Taubin, "A signal processing approach to fair surface design" (1995), equation 3 with equal weights.
    """
    check_shape("laplacian_vectors", "vertices", vertices, ("V", "C"))
    check_shape("laplacian_vectors", "edges", edges, ("E", 2))
    check_indices_below("laplacian_vectors", "edges", edges, len(vertices), "the number of vertices")
    start, end = torch.cat([edges[:, 0], edges[:, 1]]), torch.cat([edges[:, 1], edges[:, 0]])
    # index_select, not vertices[end]: the gradient of the latter sums in the order in which threads arrive.
    neighbours = torch.zeros_like(vertices).index_add(0, start, vertices.index_select(0, end))
    degree = torch.bincount(start, minlength=len(vertices)).to(vertices.dtype)[:, None]
    return neighbours / degree.clamp_min(1) - vertices * (degree > 0)
