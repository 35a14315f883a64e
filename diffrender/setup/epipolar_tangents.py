"""Tell wrong cameras from wrong masks: a plane through two cameras that touches the object touches both its outlines.

The planes through both camera centres that just touch the object are lines that just touch the silhouette, in either
picture. Where the two do not agree, cameras or masks are wrong. Shifts of whole pictures by which they agree are errors
of cameras: a small turn of a camera shifts its picture. Errors of masks are at single tangents: no shift undoes them.
Source: R. Cipolla, K. Astrom and P. Giblin, "Motion from the frontier of curved surfaces" (1995); K.-Y. K. Wong and
R. Cipolla, "Structure and motion from silhouettes" (2001).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.scene.target_views import Views, evenly_spaced_indices
from diffrender.setup.region import sight_of_views

# Others that a view is compared with, on either side of it, and fewest equations for each number that is sought.
MOST_COMPARED, FEWEST_EACH = 20, 2.0
# Planes at a larger angle, in radians about the line between two cameras, from that through the object's middle are
# left out: the line passes through the object, or near it.
WIDEST = 1.2
# Cameras that are nearer to each other, in distances of the object, have no line between them that is known.
CLOSEST = 0.01
# What is wrong with cameras, in pixels of a long side of 128: sound captures have up to .13, a tenth of a degree of a
# usual lens has .36. Of what cameras make, shifts leave a third at most; of what masks make, nine tenths and more.
WRONG_PX, PART_OF_MASKS = 0.2, 0.5
# Rounds of reweighting, and residuals, in standard deviations, from which on equations count less.
ROUNDS, OUTLYING = 10, 2.0
# The median of |x| of a normal distribution, in standard deviations.
NORMAL_MEDIAN = 0.6745


class Tangents(NamedTuple):
    """E pairs of tangent planes that should be one. Angles are about the line between both cameras, in radians.

    views: [E, 2] int64. apart: [E] the angle of the first plane less that of the second. slopes: [E, 2, 2] by how much
    the angle of either grows per pixel that its picture moves to the right and down.
    """

    views: Tensor
    apart: Tensor
    slopes: Tensor


class Shifts(NamedTuple):
    """Shifts of pictures by which tangent planes agree, in pixels of the views.

    px: [K, 2] (x, y). errors: [K, 2] their standard errors. before, after: the standard deviation of an outline's
    place, without and with the shifts, from the equations that are not outliers.
    """

    px: Tensor
    errors: Tensor
    before: float
    after: float

    @property
    def are_of_cameras(self) -> bool:
        """Whether cameras are wrong by more than masks of a long side of 128 pixels can be."""
        return self.before > WRONG_PX and self.after < PART_OF_MASKS * self.before


def find_tangents(views: Views) -> Tangents:
    """Return the tangent planes of pairs of `views`, which have masks and perspective cameras.

    Tangents at the border of a photograph, or beside pixels that are not known, are left out.
    """
    cameras, n_views = views.cameras, len(views)
    eyes, center = cameras.positions_w().double(), sight_of_views(views).point
    index = torch.arange(n_views)
    first, second = torch.minimum(index[:, None], index), torch.maximum(index[:, None], index)
    base, across = eyes[second] - eyes[first], center - eyes[first]
    is_apart = base.norm(dim=-1) > CLOSEST * across.norm(dim=-1)
    base = _unit(base)
    ahead = _unit(across - (across * base).sum(-1, keepdim=True) * base)
    aside = torch.linalg.cross(base, ahead)

    def angles(view: int, points_px: Tensor) -> Tensor:
        """Return the angles [N, P] of planes through points [P, 2] of a picture and each camera."""
        rays = cameras.select([view]).rays(points_px[None].float())[1][0].double()
        return torch.atan2(aside[view] @ rays.T, ahead[view] @ rays.T)

    ends = torch.full((n_views, n_views, 2), torch.nan, dtype=torch.float64)
    slopes = torch.full((n_views, n_views, 2, 2), torch.nan, dtype=torch.float64)
    known = views.known_masks
    assert known is not None
    masks, borders = known.double().numpy(), (views.borders(1, 1) | ~views.known_pixels).numpy()
    for view in range(n_views):
        points, is_known = _outline(masks[view], borders[view])
        if not len(points):
            continue
        found = angles(view, points)
        at = torch.stack([found.argmin(1), found.argmax(1)], 1)
        value = found.gather(1, at)
        is_good = is_known[at] & (is_apart[view] & (found.abs().amax(1) < WIDEST))[:, None]
        ends[view] = value.where(is_good, torch.nan)
        for axis, step in enumerate(0.5 * torch.eye(2, dtype=points.dtype)):
            growth = angles(view, points + step) - angles(view, points - step)
            slopes[view, :, :, axis] = growth.gather(1, at)
    i, j = torch.triu_indices(n_views, n_views, 1)
    steps = torch.tensor(evenly_spaced_indices(n_views - 1, MOST_COMPARED)) + 1
    i, j = (each[torch.isin(j - i, steps)] for each in (i, j))
    apart = (ends[i, j] - ends[j, i]).flatten()
    both = torch.stack([slopes[i, j], slopes[j, i]], 2).flatten(0, 1)
    pairs = torch.stack([i, j], 1).repeat_interleave(2, 0)
    is_found = apart.isfinite()
    return Tangents(pairs[is_found], apart[is_found], both[is_found])


def measure_camera_errors(views: Views) -> Shifts | None:
    """Return by which shifts of their pictures the masks of `views` agree; None if that is not known.

    Views have perspective cameras at different places, with the object in front of them.
    """
    sight = sight_of_views(views)
    if views.cameras.projection.default_near <= 0 or not sight.is_met:
        return None
    return shift_each(find_tangents(views), len(views))


def shift_each(tangents: Tangents, n_views: int) -> Shifts | None:
    """Return the shift of each of `n_views` pictures; None if there are too few tangents to tell."""
    return _solve(tangents, tangents.views, n_views)


def shift_all(tangents: Tangents) -> Shifts | None:
    """Return the one shift of all pictures; None if there are too few tangents to tell."""
    return _solve(tangents, torch.zeros_like(tangents.views), 1)


def _solve(tangents: Tangents, shift_of: Tensor, n_shifts: int) -> Shifts | None:
    """Find shifts [K, 2] by which tangents agree, of the pictures [E, 2] of each, by robust least squares.

    What the equations do not determine, such as a motion of all cameras together, stays 0: shifts are expected to be
    as large as the disagreement that they explain.
    """
    n_equations, n_unknown = len(tangents.apart), 2 * n_shifts
    if n_equations < FEWEST_EACH * n_unknown:
        return None
    # In units of the standard deviation of an outline's place: factors [E, 4] of x and y of both shifts.
    scale = tangents.slopes.square().sum((1, 2)).sqrt()
    factors = torch.cat([tangents.slopes[:, 0], -tangents.slopes[:, 1]], 1) / scale[:, None]
    wanted = -tangents.apart / scale
    unknown = (2 * shift_of[..., None] + torch.tensor([0, 1])).flatten(1)
    cells = unknown[:, :, None] * n_unknown + unknown[:, None]
    before = float(wanted.abs().median()) / NORMAL_MEDIAN
    after, weights, shifts = before, torch.ones_like(wanted), wanted.new_zeros(n_unknown)
    for _ in range(ROUNDS):
        weighted = weights[:, None] * factors
        squares = wanted.new_zeros(n_unknown**2).index_add(
            0, cells.flatten(), (weighted[:, :, None] * factors[:, None]).flatten()
        )
        expected = (after / max(before, 1e-12)) ** 2 * torch.eye(n_unknown, dtype=wanted.dtype)
        inverse = torch.linalg.inv(squares.unflatten(0, (n_unknown, n_unknown)) + expected)
        right = torch.zeros_like(shifts).index_add(0, unknown.flatten(), (weighted * wanted[:, None]).flatten())
        shifts = inverse @ right
        left = ((factors * shifts[unknown]).sum(1) - wanted).abs()
        after = float(left.median()) / NORMAL_MEDIAN * (n_equations / (n_equations - n_unknown)) ** 0.5
        weights = 1 / (1 + (left / max(OUTLYING * after, 1e-12)).square())
    errors = after * inverse.diagonal().sqrt()
    return Shifts(shifts.unflatten(0, (n_shifts, 2)), errors.unflatten(0, (n_shifts, 2)), before, after)


def _outline(mask: np.ndarray, border: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the corners [P, 2] of the convex hull of a mask [H, W] in pixels, and which of them are on no border."""
    from scipy.spatial import ConvexHull, QhullError

    points, is_known = [], []
    # Between neighbours on either side of the outline it is where coverage, linear between them, is one half.
    for axis in (0, 1):
        low, high = (np.moveaxis(mask, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        row, column = np.nonzero((low >= 0.5) != (high >= 0.5))
        a, b = low[row, column], high[row, column]
        along = row + 0.5 + (0.5 - a) / (b - a)
        at = np.stack([along, column + 0.5], 1)
        points.append(at if axis == 1 else at[:, ::-1])
        cells = [np.moveaxis(border, axis, 0)[row + step, column] for step in (0, 1)]
        is_known.append(~(cells[0] | cells[1]))
    rows, columns = np.nonzero((mask >= 0.5) & border)
    points.append(np.stack([columns + 0.5, rows + 0.5], 1))
    is_known.append(np.zeros(len(rows), dtype=bool))
    every, flags = np.concatenate(points), np.concatenate(is_known)
    try:
        corners = ConvexHull(every).vertices
    except (QhullError, ValueError):  # nothing, or a line
        corners = np.zeros(0, dtype=np.int64)
    return torch.from_numpy(every[corners]), torch.from_numpy(flags[corners])


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)
