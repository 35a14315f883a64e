"""Segmentation from seeds: to which seeds a random walker who avoids strong edges comes first."""

from __future__ import annotations

import numpy as np

# How strongly a walker avoids the step between two pixels, of the mean square step; and the least weight of a step,
# so that a pixel between strong edges still has neighbours.
CONTRAST, LEAST = 9.0, 1e-4


def random_walk(image: np.ndarray, is_object: np.ndarray, is_ground: np.ndarray) -> np.ndarray:
    """Return the share [H, W] float64 of walkers from each pixel who meet a pixel of the object before the ground.

    image: [H, W, C]. is_object, is_ground: [H, W] bool, the seeds; a pixel of both is one of the ground.
    Without any seed of one kind all that is unknown is of the other; without any at all it is 0.
    Source: L. Grady, "Random walks for image segmentation" (2006).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    whole = np.where(is_ground, 0.0, is_object)
    unknown = ~(is_object | is_ground)
    if not unknown.any():
        return whole
    # Nothing beyond the neighbours of unknown pixels matters.
    part = tuple(slice(max(0, i.min() - 1), i.max() + 2) for i in np.nonzero(unknown))
    image, unknown, share = image[part], unknown[part], whole[part]
    shape = share.shape
    number = np.arange(share.size).reshape(shape)
    ends = np.concatenate(
        [
            np.stack([number[:, 1:].ravel(), number[:, :-1].ravel()]),
            np.stack([number[1:].ravel(), number[:-1].ravel()]),
        ],
        1,
    )
    ends = ends[:, unknown.ravel()[ends].any(0)]
    colors = image.reshape(-1, image.shape[2]).astype(np.float64)
    steps = np.square(colors[ends[0]] - colors[ends[1]]).sum(1)
    weights = np.exp(-CONTRAST * steps / max(steps.mean(), 1e-12)) + LEAST
    # The unknown pixels' equations: each is the mean of its neighbours by these weights.
    row = np.full(share.size, -1)
    row[unknown.ravel()] = np.arange(unknown.sum())
    start, end = np.concatenate([ends, ends[::-1]], 1)
    weights = np.concatenate([weights, weights])
    mine = row[start] >= 0
    start, end, weights = row[start[mine]], end[mine], weights[mine]
    count = int(unknown.sum())
    among = row[end] >= 0
    total = np.bincount(start, weights, count)
    given = np.bincount(start[~among], weights[~among] * share.ravel()[end[~among]], count)
    entries = np.concatenate([total * (1 + 1e-9), -weights[among]])
    rows = np.concatenate([np.arange(count), start[among]])
    columns = np.concatenate([np.arange(count), row[end[among]]])
    system = coo_matrix((entries, (rows, columns)), shape=(count, count)).tocsc()
    share[unknown] = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(given)
    return whole
