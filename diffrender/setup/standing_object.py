"""Find the object that all cameras look at among depths of their pictures, apart from what it stands on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from diffrender.scene.cameras import Cameras
from diffrender.setup.depth_sweep import DepthMaps

# Lengths are multiples of the usual distance of cameras to the middle. The object is within REACH of the middle, on a
# grid of so many points along each side.
REACH, GRID = 0.6, 96
# What is no higher than this above a plane is the plane.
THICK = 0.012
# Points of the object that pictures show are at least so many times that above it.
LOWEST = 0.6
# A plane holds this share of the points around, with this share of the cameras above it; beneath it are so few points
# near the middle, of as many there as are on it: else it cuts through the object.
SHARE_OF_PLANE, SHARE_OF_CAMERAS, BENEATH = 0.15, 0.9, 0.1
# Points from which a plane is found, and triples of them that are tried.
SAMPLES, TRIPLES = 20_000, 600
# Points are seen through if a picture shows what is so much farther, and seen if it shows about their depth; so many
# pictures may be wrong, or this share of them.
BEHIND, NOISE, WRONG, SHARE_WRONG = 0.006, 0.008, 2, 0.03
# A point of the surface is seen at its depth in so many pictures.
SURFACE_SEEN = 3
# Half of the object is higher than this part of its length.
FLATTEST = 0.1
# The object is about the middle, and its surface has at least so many grid points.
CENTRAL, SMALLEST = 0.15, 40
# How far the object may reach beyond what is seen of its surface, of the size of that.
MARGIN = 0.15


class StandingObject(NamedTuple):
    """What is around the middle of a scene and apart from the rest.

    points: [P, 3] grid points that are inside, or of which no picture tells that they are outside.
    is_near: [G, G, G] bool, these and their neighbours. low: [3] the grid's first point.
    cell: distance of neighbouring grid points.
    plane: a point [3] and the unit normal [3] of the plane that it stands on; None if there is none.
    thick: up to this height above the plane depths do not tell the two apart.
    """

    points: np.ndarray
    is_near: np.ndarray
    low: np.ndarray
    cell: float
    plane: tuple[np.ndarray, np.ndarray] | None
    thick: float

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which of `points` [..., 3] are of the object: [...] bool."""
        index = np.round((points - self.low) / self.cell).astype(np.int64)
        is_inside = ((index >= 0) & (index < GRID)).all(-1)
        x, y, z = np.moveaxis(index.clip(0, GRID - 1), -1, 0)
        return is_inside & self.is_near[x, y, z] & (self.heights(points) > LOWEST * self.thick)

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Return the heights of `points` [..., 3] above the plane that it stands on; infinite without any."""
        return _heights(points, self.plane)

    @property
    def is_flat(self) -> bool:
        """Whether half of it is hardly higher above the plane that it stands on than that is wide."""
        if self.plane is None:
            return False
        heights = self.heights(self.points)
        spread = self.points - heights[:, None] * self.plane[1]
        spread = spread - spread.mean(0)
        length = np.ptp(spread @ np.linalg.svd(spread, full_matrices=False)[2][0])
        return bool(np.median(heights) < FLATTEST * length)


def find_standing_object(cameras: Cameras, depths: DepthMaps, middle: np.ndarray) -> StandingObject | None:
    """Return the object about the `middle` [3] that `cameras` look at, or None if nothing there is apart from the rest.

    Source: free space from depths as in B. Curless, M. Levoy, "A volumetric method for building complex models from
    range images" (1996).
    """
    eyes = cameras.positions_w().numpy()
    distance = float(np.median(np.linalg.norm(eyes - middle, axis=1)))
    reliable = depths.is_reliable.numpy()
    points = depths.points.numpy()[reliable]
    points = points[np.linalg.norm(points - middle, axis=1) < REACH * distance]
    if len(points) < SMALLEST:
        return None
    thick = THICK * distance
    plane = _find_plane(points, eyes, thick, np.linalg.norm(points - middle, axis=1) < REACH * distance / 2)
    half = REACH * distance
    found = _carve(cameras, depths, middle, half, distance, plane)
    if found is None:
        return None
    # Once more around what was found, on a finer grid.
    low, high = found.points.min(0) - 2 * found.cell, found.points.max(0) + 2 * found.cell
    return _carve(cameras, depths, (low + high) / 2, float((high - low).max()) / 2, distance, plane) or found


def _carve(
    cameras: Cameras,
    depths: DepthMaps,
    middle: np.ndarray,
    half: float,
    distance: float,
    plane: tuple[np.ndarray, np.ndarray] | None,
) -> StandingObject | None:
    """Return the object in a cube about the `middle`, of so long half sides."""
    from scipy import ndimage

    thick = THICK * distance
    axis = np.linspace(-half, half, GRID)
    grid = (np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3) + middle).astype(np.float32)
    cell = float(axis[1] - axis[0])
    through, on, seen = _votes(
        cameras, depths, grid, max(BEHIND * distance, 1.2 * cell), max(0.75 * cell, NOISE * distance)
    )
    usable = (_heights(grid, plane) > thick) & (seen >= 0.5 * len(cameras))
    surface = (usable & (on >= SURFACE_SEEN) & (through <= on)).reshape(GRID, GRID, GRID)
    label, count = ndimage.label(surface, np.ones((3, 3, 3)))
    if not count:
        return None
    near = np.exp(-0.5 * (np.linalg.norm(grid - middle, axis=1) / (CENTRAL * distance)) ** 2)
    weight = np.bincount(label.ravel(), near * on, count + 1)
    part = label == 1 + int(weight[1:].argmax())
    if part.sum() < SMALLEST:
        return None
    # What no picture sees through may go on for ever: not beyond its surface.
    box = np.zeros_like(part)
    ends = [(int(i.min()), int(i.max()), math.ceil(MARGIN * np.ptp(i))) for i in np.nonzero(part)]
    box[tuple(slice(max(0, first - margin), last + margin + 1) for first, last, margin in ends)] = True
    wrong = max(WRONG, SHARE_WRONG * len(cameras))
    solid, _ = ndimage.label((usable & (through <= wrong)).reshape(part.shape) & box | part)
    solid = solid == np.bincount(solid[part]).argmax()
    low = (middle - half).astype(np.float32)
    if plane is not None:
        solid |= _foot(grid, low, cell, solid, plane, thick)
    return StandingObject(grid[solid.ravel()], ndimage.binary_dilation(solid), low, cell, plane, thick)


def _foot(
    grid: np.ndarray,
    low: np.ndarray,
    cell: float,
    solid: np.ndarray,
    plane: tuple[np.ndarray, np.ndarray],
    thick: float,
) -> np.ndarray:
    """Return the grid points [G, G, G] bool that are too low to be told from the plane, below those that are solid."""
    heights = _heights(grid, plane)
    above = grid + (1.5 * thick - heights)[:, None] * plane[1]
    x, y, z = np.round((above - low) / cell).astype(np.int64).clip(0, GRID - 1).T
    return (solid[x, y, z] & (heights > 0) & (heights <= 1.5 * thick)).reshape(solid.shape)


def _heights(points: np.ndarray, plane: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    return np.full(points.shape[:-1], np.inf) if plane is None else (points - plane[0]) @ plane[1]


def _find_plane(
    points: np.ndarray, eyes: np.ndarray, thick: float, is_near: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the plane that most points are on and that the cameras are above, or None if there is none.

    is_near: [P] bool, the points of which hardly any may be beneath it.

    Source: M. Fischler, R. Bolles, "Random sample consensus" (1981).
    """
    random = np.random.default_rng(0)
    chosen = random.choice(len(points), min(len(points), SAMPLES), replace=False)
    some, near = points[chosen], points[chosen][is_near[chosen]]
    best, plane = SHARE_OF_PLANE * len(some), None
    for _ in range(TRIPLES):
        first, second, third = some[random.choice(len(some), 3, replace=False)]
        normal = np.cross(second - first, third - first)
        length = float(np.linalg.norm(normal))
        if length == 0:
            continue
        normal = normal / length * np.sign(np.median((eyes - first) @ normal) or 1.0)
        count = (np.abs((some - first) @ normal) < thick).sum()
        if count <= best or ((eyes - first) @ normal > thick).mean() < SHARE_OF_CAMERAS:
            continue
        heights = (near - first) @ normal
        if (heights < -2 * thick).sum() <= BENEATH * (np.abs(heights) < thick).sum():
            best, plane = count, (first, normal)
    for _ in range(3 if plane is not None else 0):
        on = some[np.abs(_heights(some, plane)) < thick]
        normal = np.linalg.svd(on - on.mean(0), full_matrices=False)[2][2]
        plane = (on.mean(0), normal * np.sign(normal @ plane[1]))
    return plane


def _votes(
    cameras: Cameras, depths: DepthMaps, grid: np.ndarray, behind: float, on: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many pictures see through each grid point, see it at its depth, and have it in their frame."""
    through, at, seen = np.zeros((3, len(grid)), np.int32)
    points, reliable, depth = torch.from_numpy(grid), depths.is_reliable.numpy(), depths.depth.numpy()
    for view in range(len(cameras)):
        column, row, far = cameras.select([view]).world_to_pixels(points)[0].numpy().T
        inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
        x, y = np.where(inside, column, 0).astype(np.int64), np.where(inside, row, 0).astype(np.int64)
        known = reliable[view, y, x] & inside
        through += known & (depth[view, y, x] > far + behind)
        at += known & (np.abs(depth[view, y, x] - far) <= on)
        seen += inside
    return through, at, seen
