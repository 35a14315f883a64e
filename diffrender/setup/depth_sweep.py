"""Depths of pixels from how neighbouring pictures look through planes at many depths: a plane sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
# Planes that lie as the ground does are swept as well, of which no pixel sees any this many times farther than another.
# They show what is there only if squares correlate so much better than through planes that face the camera.
GRAZING, BETTER = 50.0, 0.05
# How much the way that pictures are upright says of the ground beside the axes of their rows, which lie in it.
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


def sweep_depths(views: Views, sources: int, middles: Tensor) -> DepthMaps:
    """Return the depths at which squares of small `views` look like those of neighbours.

    views: with images in sRGB. sources: only the first so many are neighbours of others.
    middles: [N, 3], what each looks at, or [3], what all do.
    Source: R. Collins, "A space-sweep approach to true multi-image matching" (1996); correlation and the best of
    several neighbours as in Y. Furukawa, C. Hernandez, "Multi-view stereo: a tutorial" (2015).
    """
    middles = middles.expand(len(views), 3)
    distances = (views.cameras.positions_w() - middles).norm(dim=1)
    normals = [None, ground_normal(views.cameras)]
    return _sweep_all(views, neighbours_by_angle(views.cameras, sources, middles), distances, normals)


def ground_normal(cameras: Cameras) -> Tensor:
    """Return the direction [3] that is most likely that of gravity, of either sign: rows of pictures are level.

    If they all have one direction, what is upright in pictures decides.
    """
    right, down = cameras.cam_from_world[:, :2, :3].double().unbind(1)
    usual = down.mean(0)
    return torch.linalg.eigh(right.T @ right / len(right) - UPRIGHT * usual[:, None] * usual)[1][:, 0].float()


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


def _sweep_all(
    views: Views, neighbours: list[list[int]], distances: Tensor, normals: Sequence[Tensor | None] = (None,)
) -> DepthMaps:
    """Return depths by `neighbours` of each view, about its distance [N], through planes of these normals [3].

    Of no normal: planes that face the camera.
    """
    cameras, gray = views.cameras, views.images.mean(-1)

    def sweep(view: int) -> tuple[Tensor, Tensor, Tensor]:
        eye, ahead = _sight(cameras.select([view]))
        found = []
        for normal in normals:
            nearest = distances[view] * _plane(ahead, normal)
            times, alike = _sweep(cameras, gray, view, neighbours[view], eye, ahead * nearest[..., None])
            found.append((nearest * times, alike if normal is None else alike - BETTER))
        depth, alike = (torch.stack(parts) for parts in zip(*found, strict=True))
        depth = depth.gather(0, alike.argmax(0, keepdim=True))[0]
        return depth, alike.amax(0), eye + ahead * depth[..., None]

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


def _plane(ahead: Tensor, normal: Tensor | None) -> Tensor:
    """Return the depths [H, W] of a plane of that normal [3], or one that faces the camera: one where it is nearest.

    Of planes at both sides of the camera each pixel sees one.
    Source: D. Gallup et al., "Real-time plane-sweeping stereo with multiple sweeping directions" (2007).
    """
    if normal is None:
        return torch.ones_like(ahead[..., 0])
    steep = (ahead @ normal).abs()
    return (steep.max() / steep).clamp_max(GRAZING)


def _sweep(
    cameras: Cameras, gray: Tensor, view: int, neighbours: list[int], eye: Tensor, ahead: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how many times the way `ahead` [H, W, 3] from `eye` it is to what pixels show, and the correlation there.

    Both [H, W], of a picture among `gray` [N, H, W]. Ways are some part of that to several times as long.
    """
    if not neighbours:
        return torch.ones_like(gray[view]), torch.full_like(gray[view], -1)
    disparity = float(cameras.focal_px[view].mean()) * math.radians(USUAL_DEG) * (1 / NEAREST - 1 / FARTHEST)
    count = round(min(max(FEWEST_PLANES, disparity), MOST_PLANES))
    inverse = torch.linspace(1 / NEAREST, 1 / FARTHEST, count)
    others = [cameras.select([other]) for other in neighbours]
    starts = torch.stack([each.project(eye[None])[0, 0, :3] for each in others])
    ends = torch.stack([each.project((eye + ahead).reshape(-1, 3))[0, :, :3] for each in others])
    best, place = sweep_planes(
        gray[view].numpy(), gray[neighbours].numpy(), ends.unflatten(1, ahead.shape[:2]).numpy(), starts.numpy(),
        inverse.numpy(),
    )  # fmt: skip
    times = 1 / (inverse[0] + torch.from_numpy(place) * (inverse[1] - inverse[0]))
    return times, torch.from_numpy(best)
