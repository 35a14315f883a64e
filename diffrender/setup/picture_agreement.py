"""Whether pictures fit onto each other where depths and cameras put them."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, normalize

from diffrender.readers.captures.picture_files import some
from diffrender.scene.target_views import Views
from diffrender.setup.depth_sweep import CONFIRMED, neighbours_by_angle, of_all_views
from diffrender.setup.swept_views import SIDE, SweptViews

# A view is odd if depths are told of less than this part of what is told of the usual one. Sound captures have .19 or
# more, the least of a view with a box close in front; a picture that is another camera's .02 to .1.
ODD = 0.15
# More odd views than this share are no exceptions, and nor are any if less than this is told of the usual one.
FEW, ENOUGH = 1 / 3, 0.1
# Nor are views of which less than this share is known.
LEAST_KNOWN = 0.1

# Small pixels by which exact cameras are not off: those of COLMAP are up to a tenth, of sixteen pictures with hardly
# any texture a fifth; with cameras turned by .3 degrees it is a half.
INEXACT_PX = 0.25
# Pictures are compared in so many parts along each side, of at least so many pixels each, by so many steps of at most a
# pixel; what differs more than this in sRGB is not the same.
PARTS, FEWEST_PIXELS, STEPS, OTHER = 3, 100, 4, 0.15
# Fewer parts tell nothing.
FEWEST_PARTS = 30
# A part of the way to a point, by which it is moved to find the direction in which depths have been fitted.
FARTHER = 0.01


class PictureAgreement(NamedTuple):
    """How far pictures fit onto each other.

    views: the small pictures that were compared, in sRGB. told: for the name of each of them that has neighbours, and
    of which something is known, the share of its known pixels of which neighbours tell the depth.
    misfit_px: by how many small pixels pictures are usually beside each other; None if that is not known.
    """

    views: Views
    told: dict[str, float]
    misfit_px: float | None

    @property
    def usual(self) -> float:
        """What is told of the usual view."""
        return statistics.median(self.told.values()) if self.told else 0.0

    @property
    def odd(self) -> tuple[str, ...]:
        """The few views that do not fit onto the others, the worst first."""
        found = [name for name in sorted(self.told, key=self.told.__getitem__) if self.told[name] < ODD * self.usual]
        return tuple(found) if self.usual >= ENOUGH and len(found) <= FEW * len(self.told) else ()

    def doubts(self) -> list[str]:
        """Return what is to be doubted about pictures or cameras."""
        doubts = []
        if self.odd:
            doubts.append(
                f"hardly any depth is told of {some(list(self.odd))}: another picture, another pose, or something close"
                " in front"
            )
        inexact = describe_misfit(self.misfit_px)
        return [*doubts, inexact] if inexact else doubts


def measure_pictures(swept: SweptViews) -> PictureAgreement:
    """Return how far pictures fit onto each other, of all views of which depths were looked for."""
    names, shares = swept.views.names, shares_told(swept)
    told = {name: share for name, share in zip(names, shares, strict=True) if share is not None}
    return PictureAgreement(swept.views, told, measure_misfit(swept))


def shares_told(swept: SweptViews) -> list[float | None]:
    """Return for each view the share of its known pixels of which neighbours tell the depth.

    None if too few look from near it to confirm any, or hardly anything of it is known.
    """
    known = swept.views.known_pixels.double().mean((1, 2))
    shares = (swept.depths.is_reliable.double().mean((1, 2)) / known).tolist()
    neighbours = neighbours_by_angle(swept.views.cameras, swept.n_fit, swept.middles)
    return [
        share if len(near) >= CONFIRMED and part >= LEAST_KNOWN else None
        for share, part, near in zip(shares, known.tolist(), neighbours, strict=True)
    ]


def measure_misfit(swept: SweptViews) -> float | None:
    """Return by how many small pixels parts of pictures are usually beside where neighbours show the same.

    Across the direction in which a neighbour sees a point move with its depth, which is known no better than to fit.
    None if too few parts are seen by several.
    Source: B. Lucas, T. Kanade, "An iterative image registration technique" (1981), along one direction.
    """
    n_fit, cameras = swept.n_fit, swept.fitted_cameras
    gray = avg_pool2d(swept.views.images[:n_fit].mean(-1)[:, None], 3, 1, 1, count_include_pad=False)
    slope_x, slope_y = torch.zeros_like(gray), torch.zeros_like(gray)
    slope_x[..., 1:-1] = (gray[..., 2:] - gray[..., :-2]) / 2
    slope_y[..., 1:-1, :] = (gray[..., 2:, :] - gray[..., :-2, :]) / 2
    slopes = torch.cat([gray, slope_x, slope_y], 1)
    neighbours = neighbours_by_angle(cameras, n_fit, swept.middles[:n_fit])
    eyes = cameras.positions_w()

    def shifts(view: int) -> Tensor:
        reliable = swept.depths.is_reliable[view]
        points, mine = swept.depths.points[view][reliable], gray[view, 0][reliable]
        row, column = reliable.nonzero(as_tuple=True)
        part = row * PARTS // reliable.shape[0] * PARTS + column * PARTS // reliable.shape[1]
        found = [mine.new_zeros(0)]
        for other in neighbours[view]:
            camera = cameras.select([other])
            at, farther = (
                camera.world_to_pixels(each)[0, :, :2] for each in (points, points + FARTHER * (points - eyes[view]))
            )
            along = normalize(farther - at, dim=1)
            across = torch.stack([-along[:, 1], along[:, 0]], 1)
            found.append(_shifts_of_parts(slopes[other], mine, at, across, part).abs())
        return torch.cat(found)

    found = torch.cat(of_all_views(shifts, n_fit))
    return float(found.median()) if len(found) >= FEWEST_PARTS else None


def describe_misfit(misfit_px: float | None) -> str | None:
    """Return that cameras are not exact if pictures are so many small pixels beside each other, or else None."""
    if misfit_px is None or misfit_px <= INEXACT_PX:
        return None
    return (
        f"at a long side of {SIDE} pixels, pictures are {misfit_px:.2g} pixels beside each other where depths put them:"
        " cameras are not exact"
    )


def _shifts_of_parts(slopes: Tensor, mine: Tensor, at: Tensor, across: Tensor, part: Tensor) -> Tensor:
    """Return by how much each part [M] int64 of `mine` [M] is beside pixels `at` [M, 2] of another picture, `across`.

    slopes: [3, H, W], the other picture and its slopes along x and y. Parts of few pixels are left out.
    """
    size = at.new_tensor([slopes.shape[2], slopes.shape[1]])
    is_inside = ((at > 2) & (at < size - 2)).all(1)
    shift = mine.new_zeros(PARTS**2)
    for _ in range(STEPS):
        place = 2 * (at + across * shift[part, None]) / size - 1
        theirs, *slope = grid_sample(slopes[None], place[None, None].nan_to_num(), align_corners=False)[0, :, 0]
        steep = slope[0] * across[:, 0] + slope[1] * across[:, 1]
        off = mine - theirs
        counts = torch.where(is_inside & (off.abs() < OTHER), 1.0, 0.0)
        sums = [torch.bincount(part, counts * steep * each, PARTS**2) for each in (off, steep)]
        shift = shift + (sums[0] / sums[1].clamp_min(1e-9)).clamp(-1, 1).to(shift)
    return shift[torch.bincount(part[is_inside], minlength=PARTS**2) >= FEWEST_PIXELS]
