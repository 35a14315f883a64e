"""Depths of pixels from how neighbouring pictures look through planes at many depths: a plane sweep."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

from diffrender.imaging.plane_sweep import REACH, sweep_planes
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.threads import kernel_threads, threads_to_kernels

T = TypeVar("T")

# Neighbours of a picture, as seen from the middle: about so many degrees away, in any case between the two.
NEIGHBOURS, USUAL_DEG, LEAST_DEG, MOST_DEG = 4, 12.0, 3.0, 45.0
# Depths between these multiples of the distance to the middle, evenly in their inverse, about a pixel apart.
NEAREST, FARTHEST = 0.4, 6.0
FEWEST_PLANES, MOST_PLANES = 32, 128
# Cameras closer together than this part of how far apart they are at most are at one place.
SAME_PLACE = 1e-3
# Of those by distance every so manieth is tried; views show what they look at if depths are found for so many of their
# pixels, and are not tried further for so many.
STRIDES = (1, 3, 9, 27)
FEWEST_SEEN, MANY_SEEN = 0.05, 0.3
# Of places from which neighbours are USUAL_DEG apart, so many times the distance is told.
TOLD = 4.0
# A depth is reliable if squares correlate so well and so many neighbours find it too, up to this relative difference.
ALIKE, CONFIRMED, SAME = 0.7, 2, 0.03
# Planes that lie as the ground does are swept as well. Where a pixel looks down most steeply, they are at this part of
# the distance to the middle to FARTHEST times it; other pixels see them at most so many times farther away.
NEAREST_GROUND, GRAZING = 0.15, 50.0
# A depth is that of the ground only if squares correlate so much better there than on planes that face the camera: most
# of a square about a thin part is ground.
BETTER = 0.07
# How much the columns of pictures say of which way the ground lies, beside their rows.
UPRIGHT = 0.01
# Each thread takes tens of megabytes.
MOST_THREADS = 8


class DepthMaps(NamedTuple):
    """Depths of N pictures.

    depth: [N, H, W] along the view. points: [N, H, W, 3] in the world. is_reliable: [N, H, W] bool.
    """

    depth: Tensor
    points: Tensor
    is_reliable: Tensor


def sweep_depths(views: Views, sources: int, middles: Tensor, with_ground: bool = True) -> DepthMaps:
    """Return the depths at which squares of small `views` look like those of neighbours.

    views: with images in sRGB. sources: only the first so many are neighbours of others.
    middles: [N, 3], what each looks at, or [3], what all do.
    with_ground: whether planes that lie as the ground does are swept as well, which takes as long again or a
        little longer; a ground that is seen at a grazing angle is hardly found otherwise.
    Source: R. Collins, "A space-sweep approach to true multi-image matching" (1996); correlation and the best of
    several neighbours as in Y. Furukawa, C. Hernandez, "Multi-view stereo: a tutorial" (2015).
    """
    middles = middles.expand(len(views), 3)
    distances = (views.cameras.positions_w() - middles).norm(dim=1)
    ground = ground_normal(views.cameras.select(slice(0, sources))) if with_ground else None
    return _sweep_all(views, neighbours_by_angle(views.cameras, sources, middles), distances, ground)


def ground_normal(cameras: Cameras) -> Tensor:
    """Return the direction down [3] that is most likely that of gravity: rows of pictures are level.

    If all rows have one direction, it is that of the columns, which is right for cameras that look about level.
    """
    right, down = cameras.cam_from_world[:, :2, :3].double().unbind(1)
    usual = down.mean(0)
    normal = torch.linalg.eigh(right.T @ right / len(right) - UPRIGHT * usual[:, None] * usual)[1][:, 0]
    return (normal if normal @ usual > 0 else -normal).float()


def find_middles(views: Views, sources: int) -> Tensor | None:
    """Return the middle [N, 3] of what each of small `views` shows, wherever it looks; None if depths are not told.

    Of depths that neighbours tell: the nearest ones, or farther ones if those are too near, as in a film.
    sources: only the first so many are neighbours of others.
    """
    eyes, order = views.cameras.positions_w(), _by_distance(views.cameras, sources)
    best, most = None, FEWEST_SEEN * views.images[..., 0].numel()
    for stride in STRIDES:
        nearest = [others[stride - 1 :: stride][:NEIGHBOURS] for others in order]
        apart = [(eyes[near] - eyes[view]).norm(dim=1).sum() / max(len(near), 1) for view, near in enumerate(nearest)]
        # Seen from there, neighbours are USUAL_DEG apart.
        distances = torch.stack(apart) / math.radians(USUAL_DEG)
        maps = _sweep_all(views, nearest, distances)
        # What is farther than all planes looks most like the last ones.
        maps = maps._replace(is_reliable=maps.is_reliable & (maps.depth < TOLD * distances[:, None, None]))
        count = int(maps.is_reliable.sum())
        if count > most:
            best, most = maps, count
        if count > MANY_SEEN * maps.is_reliable.numel():
            break
    if best is None:
        return None
    all_points = best.points[best.is_reliable].median(0).values
    seen = [points[reliable] for points, reliable in zip(best.points, best.is_reliable, strict=True)]
    return torch.stack([points.median(0).values if len(points) else all_points for points in seen])


def _sweep_all(views: Views, neighbours: list[list[int]], distances: Tensor, ground: Tensor | None = None) -> DepthMaps:
    """Return depths by `neighbours` of each view, about its distance [N]; also of planes of the normal `ground`."""
    cameras, gray = views.cameras, views.images.mean(-1)

    def sweep(view: int) -> tuple[Tensor, Tensor, Tensor]:
        eye, ahead = _sight(cameras.select([view]))
        way = ahead * distances[view]
        others, focal = neighbours[view], float(cameras.focal_px[view].mean())
        times, alike = _sweep(cameras, gray, others, gray[view], eye, way, _planes(focal, NEAREST))
        if ground is not None:
            steep = ahead @ ground
            rows, columns = (_span((steep * GRAZING > steep.max()).any(axis)) for axis in (1, 0))
            farther = (steep.max() / steep)[rows, columns].clamp(1, GRAZING).where(steep[rows, columns] > 0, GRAZING)
            below = way[rows, columns] * farther[..., None]
            planes = _planes(focal, NEAREST_GROUND)
            lower, better = _sweep(cameras, gray, others, gray[view, rows, columns], eye, below, planes)
            is_ground = better - BETTER > alike[rows, columns]
            times[rows, columns] = (lower * farther).where(is_ground, times[rows, columns])
            alike[rows, columns] = (better - BETTER).where(is_ground, alike[rows, columns])
        return distances[view] * times, alike, eye + way * times[..., None]

    maps = of_all_views(sweep, len(views))
    depth, alike, points = (torch.stack(parts) for parts in zip(*maps, strict=True))
    found = torch.zeros_like(depth)
    for view, others in enumerate(neighbours):
        for other in others:
            x, y, far = cameras.select([other]).world_to_pixels(points[view].flatten(0, 1))[0].unbind(1)
            column, row = (x.nan_to_num(-1).floor().long(), y.nan_to_num(-1).floor().long())
            is_inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
            theirs = depth[other][row.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1)]
            is_same = is_inside & ((far / theirs - 1).abs() < SAME)
            found[view] += is_same.reshape(found[view].shape)
    # Squares that reach over unknown pixels show what is not there.
    unknown = (~views.known_pixels).to(gray)[:, None]
    is_whole = max_pool2d(unknown, 2 * REACH + 1, 1, REACH)[:, 0] == 0
    return DepthMaps(depth, points, (alike > ALIKE) & (found >= CONFIRMED) & is_whole)


def of_all_views(function: Callable[[int], T], count: int) -> list[T]:
    """Return `function` of each of so many views, in their order; on kernel threads, at most MOST_THREADS."""
    n_threads = kernel_threads()
    with threads_to_kernels(n_threads), ThreadPoolExecutor(min(MOST_THREADS, n_threads)) as pool:
        return list(pool.map(function, range(count)))


def neighbours_by_angle(cameras: Cameras, sources: int, middles: Tensor) -> list[list[int]]:
    """Return for each camera those among the first `sources` that see its middle [N, 3] from about USUAL_DEG away."""
    eyes = cameras.positions_w()
    towards = normalize(eyes - middles, dim=1).double()
    others = normalize(eyes[:sources] - middles[:, None], dim=2).double()
    angle = torch.rad2deg(torch.arccos((others @ towards[:, :, None])[..., 0].clamp(-1, 1)))
    is_usable = (angle >= LEAST_DEG) & (angle <= MOST_DEG)
    cost = (angle - USUAL_DEG).abs().where(is_usable, torch.inf)
    # Rounded, so that views that are as far away on both sides keep their order.
    order = cost.round(decimals=4).argsort(dim=1, stable=True)[:, :NEIGHBOURS]
    return [[int(i) for i in row if is_usable[view, i]] for view, row in enumerate(order)]


def _by_distance(cameras: Cameras, sources: int) -> list[list[int]]:
    """Return for each camera those of the first `sources` elsewhere that look in about its direction, by distance."""
    eyes, axes = cameras.positions_w().double(), cameras.cam_from_world[:, 2, :3].double()
    apart = torch.cdist(eyes, eyes[:sources])
    is_usable = (apart > SAME_PLACE * apart.max()) & (axes @ axes[:sources].T > math.cos(math.radians(MOST_DEG)))
    order = apart.where(is_usable, torch.inf).argsort(dim=1, stable=True)
    return [[int(i) for i in row if is_usable[view, i]] for view, row in enumerate(order)]


def _sight(camera: Cameras) -> tuple[Tensor, Tensor]:
    """Return the place of a camera [3], and the ways [H, W, 3] from there to what its pixels show at a depth of one."""
    axes = (torch.arange(size) + 0.5 for size in (camera.width, camera.height))
    column, row = torch.meshgrid(*axes, indexing="xy")
    origin, direction = camera.rays(torch.stack([column, row], -1).reshape(1, -1, 2))
    ahead = direction / (direction * camera.cam_from_world[:, 2:3, :3]).sum(-1, keepdim=True)
    return origin[0, 0], ahead[0].reshape(camera.height, camera.width, 3)


def _span(is_in: Tensor) -> slice:
    """Return the shortest slice of [N] bool that has all that are in; empty if none is."""
    index = is_in.nonzero()[:, 0]
    return slice(int(index[0]), int(index[-1]) + 1) if len(index) else slice(0, 0)


def _planes(focal: float, nearest: float) -> Tensor:
    """Return the inverse distances of planes from `nearest` to FARTHEST, about a pixel apart in neighbours."""
    disparity = focal * math.radians(USUAL_DEG) * (1 / nearest - 1 / FARTHEST)
    count = round(min(max(FEWEST_PLANES, disparity), MOST_PLANES))
    return torch.linspace(1 / nearest, 1 / FARTHEST, count)


def _sweep(
    cameras: Cameras, gray: Tensor, neighbours: list[int], mine: Tensor, eye: Tensor, way: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how many times the `way` [H, W, 3] from `eye` it is to what pixels show, and the correlation there.

    Both [H, W]. mine: [H, W], all or part of a picture. neighbours: among pictures `gray` [N, ...].
    inverse: one over the times that are tried.
    Source of planes that do not face the camera: D. Gallup et al., "Real-time plane-sweeping stereo with multiple
    sweeping directions" (2007).
    """
    if not neighbours or not mine.numel():
        return torch.ones_like(mine), torch.full_like(mine, -1)
    others = [cameras.select([other]) for other in neighbours]
    starts = torch.stack([each.project(eye[None])[0, 0, :3] for each in others])
    ends = torch.stack([each.project((eye + way).reshape(-1, 3))[0, :, :3] for each in others])
    best, place = sweep_planes(
        mine.numpy(), gray[neighbours].numpy(), ends.unflatten(1, way.shape[:2]).numpy(), starts.numpy(),
        inverse.numpy(),
    )  # fmt: skip
    times = 1 / (inverse[0] + torch.from_numpy(place) * (inverse[1] - inverse[0]))
    return times, torch.from_numpy(best)
