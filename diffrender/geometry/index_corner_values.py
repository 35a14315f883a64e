"""Corner values as a table of unique values and indices into it, as meshes store texture coordinates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_index, check_shape


class CornerTable(NamedTuple):
    """Unique corner values and indices into them.

    values: [T, D], ordered by vertex.
    index: [F, 3] int64; corner c of face f has values[index[f, c]].
    """

    values: Tensor
    index: Tensor


def build_corner_table(faces: Tensor, corner_values: Tensor) -> CornerTable:
    """Build the table of the distinct corner values of each vertex.

    faces: [F, 3] int64. corner_values: [F, 3, D] float. Corners of a vertex share an entry if their values are
    bitwise equal (or 0 and -0), so the seams are the edges between faces with different values.
    Differentiable in corner_values: an entry passes its gradient to the first of its corners.
    Raises ShapeError for other shapes.
    """
    check_shape("build_corner_table", "faces", faces, ("F", 3))
    check_index("build_corner_table", "faces", faces)
    check_shape("build_corner_table", "corner_values", corner_values, (len(faces), 3, "D"))
    flat = corner_values.flatten(0, 1)
    vertex = faces.reshape(-1)
    # Sort by vertex, then by value: stable sorts, least significant key first.
    order = torch.arange(len(vertex), device=faces.device)
    for key in (*flat.detach().unbind(1), vertex):
        order = order[key[order].argsort(stable=True)]
    is_new = torch.ones(len(order), dtype=torch.bool, device=faces.device)
    row, at = flat.detach()[order], vertex[order]
    is_new[1:] = (row[1:] != row[:-1]).any(1) | (at[1:] != at[:-1])
    index = torch.empty_like(order)
    index[order] = is_new.cumsum(0) - 1
    return CornerTable(flat[order[is_new]], index.reshape(-1, 3))
