"""Harmonic interpolation of vertex values that are known at some vertices only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_shape

# Regularization: makes components without a known vertex solvable (they get the mean); negligible for the others.
REGULARIZATION = 1e-9


def fill_harmonic(values: Tensor, known: Tensor, faces: Tensor) -> Tensor:
    """Return `values` with every unknown vertex replaced by the mean of its neighbours: a smooth interpolation, [V, C].

    A component without a known vertex gets the mean of all known values; if no vertex is known, nothing changes.

    values: [V, C]; known: [V] bool; faces: [F, 3] int64.
    """
    check_shape("fill_harmonic", "values", values, ("V", "C"))
    check_shape("fill_harmonic", "known", known, (len(values),))
    check_shape("fill_harmonic", "faces", faces, ("F", 3))
    if bool(known.all()) or not bool(known.any()):
        return values
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import splu

    given = values.detach().cpu().double().numpy()
    is_known = known.cpu().numpy()
    mean = given[is_known].mean(0)
    corners = faces.cpu().numpy()
    ends = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    ends = np.concatenate([ends, ends[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(given), len(given))).tocsr()
    adjacency.data[:] = 1.0  # an edge with two faces counts once
    laplacian = (diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()
    unknown = np.flatnonzero(~is_known)
    rows = laplacian[unknown]
    system = (rows[:, unknown] + REGULARIZATION * diags(np.ones(len(unknown)))).tocsc()
    given[unknown] = splu(system).solve(-rows[:, np.flatnonzero(is_known)] @ (given[is_known] - mean)) + mean
    return torch.where(known[:, None], values, torch.from_numpy(given).to(values))
