"""Corner values as a table and indices into it, the way that meshes keep texture coordinates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_index, check_shape


class CornerTable(NamedTuple):
    """values: [T, D], ordered by vertex. index: [F, 3] int64; corner c of face f carries values[index[f, c]]."""

    values: Tensor
    index: Tensor


def corner_table(faces: Tensor, corner_values: Tensor) -> CornerTable:
    """Return each value that corners carry, once for each vertex that it occurs at.

    faces: [F, 3] int64. corner_values: [F, 3, D] float. Corners of one vertex share an entry if their values are the
    same bit for bit (and 0 equals -0); so edges between faces that carry different values are the seams.
    Differentiable in corner_values: an entry passes its gradient to the first of its corners.
    Raises ShapeError on other shapes.
    """
    check_shape("corner_table", "faces", faces, ("F", 3))
    check_index("corner_table", "faces", faces)
    check_shape("corner_table", "corner_values", corner_values, (len(faces), 3, "D"))
    flat = corner_values.flatten(0, 1)
    vertex = faces.reshape(-1)
    # By vertex, then by value: stable sorts, the least important key first.
    order = torch.arange(len(vertex), device=faces.device)
    for key in (*flat.detach().unbind(1), vertex):
        order = order[key[order].argsort(stable=True)]
    is_new = torch.ones(len(order), dtype=torch.bool, device=faces.device)
    row, at = flat.detach()[order], vertex[order]
    is_new[1:] = (row[1:] != row[:-1]).any(1) | (at[1:] != at[:-1])
    index = torch.empty_like(order)
    index[order] = is_new.cumsum(0) - 1
    return CornerTable(flat[order[is_new]], index.reshape(-1, 3))
