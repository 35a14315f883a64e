"""A closed triangle mesh from a function of space: marching tetrahedra on a body-centred cubic lattice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import Triangles

# A new vertex keeps this part of its lattice edge away from either end. The surface goes on where its vertices meet no
# lattice point, and triangles of no size, which the smoothing of a mesh could not mend, do not arise.
END_MARGIN = 0.02
# Blocks of this many cells per side are skipped where the function is far from zero at their middle.
BLOCK = 4
# How much faster than distance the function may change.
STEEPEST = 2.0


class Lattice(NamedTuple):
    """Cubic cells and, at the middle of each, one more point: a body-centred cubic lattice.

    low: (x, y, z) of its lowest corner. cell: the edge of a cell. shape: cells along x, y and z.
    """

    low: tuple[float, float, float]
    cell: float
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, low: Tensor, high: Tensor, cell: float) -> Lattice:
        """Return the lattice around the box `low` [3] to `high` [3], with one extra layer of cells on every side."""
        size = ((high - low).double() / cell - 1e-6).ceil().long() + 2
        start = (low + high).double() / 2 - size * cell / 2
        x, y, z = start.tolist()
        nx, ny, nz = size.tolist()
        return cls((x, y, z), cell, (nx, ny, nz))


def isosurface(function: Callable[[Tensor], Tensor], lattice: Lattice, blur_cells: float = 0.0) -> Triangles:
    """Return the surface where `function` is zero, closed and manifold, with normals towards its positive side.

    function: points [M, 3] float32 -> [M], negative inside. It is taken to change at most twice as fast as distance,
        so that it need not be asked far from its surface; where it jumps, the surface stays closed but may be coarse.
    blur_cells: standard deviation, in cells, of a Gaussian that the function is blurred with first: what is thinner
        than about a cell, handles and holes alike, goes.
    What reaches the outermost cells is cut off there. The mesh is empty where nothing is inside.

    Each face between two cells, with the two middles, makes four tetrahedra. A tetrahedron whose corners differ in
    sign holds one or two triangles, which fit those of its neighbours, so there are no ambiguous cases.
    Source: A. Doi, A. Koide, "An efficient method of triangulating equi-valued surfaces by using tetrahedral cells"
    (1991); the lattice as in F. Labelle, J. Shewchuk, "Isosurface stuffing" (2007), section 3.
    """
    if min(lattice.shape) < 3:
        raise ShapeError(f"isosurface: the lattice needs at least 3 cells along each axis, got {list(lattice.shape)}")
    corners, middles = (_prepare(grid, lattice.cell, blur_cells) for grid in _lattice_values(function, lattice))
    values = np.concatenate([corners.reshape(-1), middles.reshape(-1)])
    faces = _march(values, _tetrahedra(corners, middles))
    # One number an edge: a sort of numbers is several times as quick as one of pairs.
    edges, index = np.unique(faces[..., 0] * len(values) + faces[..., 1], return_inverse=True)
    a, b = edges // len(values), edges % len(values)
    t = np.clip(values[a] / (values[a] - values[b]), END_MARGIN, 1 - END_MARGIN)[:, None]
    positions = (1 - t) * _positions(a, lattice) + t * _positions(b, lattice)
    vertices = torch.from_numpy(positions).float()
    return Triangles(vertices, torch.from_numpy(index.reshape(-1, 3)).long())


def _lattice_values(function: Callable[[Tensor], Tensor], lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Return the function at corners [nx + 1, ny + 1, nz + 1] and middles [nx, ny, nz], float32.

    Far from the surface it represents a whole block.
    """
    n_blocks = [-(-(size + 1) // BLOCK) for size in lattice.shape]
    low, cell = torch.tensor(lattice.low, dtype=torch.float64), lattice.cell
    block = torch.cartesian_prod(*(torch.arange(n) for n in n_blocks))
    # The points of a block reach from its first corner to the last middle, half a cell before the next block.
    reach = (BLOCK - 0.5) / 2
    rough = function((low + (block * BLOCK + reach) * cell).float())
    near = rough.abs() <= STEEPEST * reach * 3**0.5 * cell
    inside_block = torch.cartesian_prod(*(torch.arange(BLOCK),) * 3)
    fields = []
    for shift, margin in ((0.0, 1), (0.5, 0)):
        filled = rough[:, None].repeat(1, BLOCK**3)
        points = (block[near, None] * BLOCK + inside_block + shift).reshape(-1, 3)
        filled[near] = function((low + points * cell).float()).reshape(-1, BLOCK**3)
        grid = filled.reshape(*n_blocks, *(BLOCK,) * 3).permute(0, 3, 1, 4, 2, 5)
        grid = grid.reshape([n * BLOCK for n in n_blocks]).numpy().copy()
        fields.append(grid[tuple(slice(size + margin) for size in lattice.shape)])
    return fields[0], fields[1]


def _prepare(grid: np.ndarray, cell: float, blur_cells: float) -> np.ndarray:
    """Return `grid` blurred, the outermost layer outside, and nowhere zero."""
    if blur_cells > 0:
        from scipy.ndimage import gaussian_filter

        # Infinities and the steps between blocks are far from the surface, and must not reach it.
        far = STEEPEST * BLOCK * cell
        grid = gaussian_filter(np.clip(grid, -far, far), blur_cells, mode="nearest")
    for axis in range(3):
        for layer in (0, -1):
            side = np.moveaxis(grid, axis, 0)[layer]
            np.maximum(side, np.float32(cell / 2), out=side)
    grid[grid == 0] = np.float32(1e-6 * cell)
    return grid


def _tetrahedra(corners: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Return [T, 4] the corners of all tetrahedra that may meet the surface: lattice points counted corners first."""
    number = np.arange(corners.size).reshape(corners.shape)
    number_of_middle = corners.size + np.arange(middles.size).reshape(middles.shape)
    found = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3

        def shifted(grid: np.ndarray, steps: dict[int, int], axis: int = axis) -> np.ndarray:
            # The face between cells i and i + 1 along `axis`: corners i + 1, all cells along the other two.
            window = [slice(None)] * 3
            for other in range(3):
                size = middles.shape[other] - (1 if other == axis else 0)
                window[other] = slice(steps.get(other, 0), steps.get(other, 0) + size)
            return grid[tuple(window)]

        steps = [{}, {axis: 1}] + [{axis: 1, u: a, v: b} for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
        grids = [middles] * 2 + [corners] * 4
        inside = sum((shifted(grid < 0, step).astype(np.int8) for grid, step in zip(grids, steps, strict=True)))
        active = np.nonzero((np.asarray(inside) > 0) & (np.asarray(inside) < 6))
        numbers = [number_of_middle] * 2 + [number] * 4
        below, above, *ring = (shifted(grid, step)[active] for grid, step in zip(numbers, steps, strict=True))
        # Seen against the axis the ring turns left, so every tetrahedron has a positive volume.
        found += [np.stack([below, ring[k], ring[(k + 1) % 4], above], 1) for k in range(4)]
    return np.concatenate(found)


def _cases() -> list[list[tuple[tuple[int, int], ...]]]:
    """Return the triangles of each sign pattern of a tetrahedron (bit k: corner k is inside), normals outwards.

    A triangle is given by the three edges of the tetrahedron that its corners are on.
    """
    cases = []
    for pattern in range(16):
        # Corners a b c d, those inside first, in an order that keeps the volume positive: seen from a, the way from b
        # over c to d turns left.
        order = sorted(range(4), key=lambda k: not pattern >> k & 1)
        n_inside = pattern.bit_count()
        if sum(x > y for x, y in combinations(order, 2)) % 2:
            first = int(n_inside == 1)
            order[first], order[first + 1] = order[first + 1], order[first]
        a, b, c, d = order
        one = ((a, b), (a, c), (a, d))
        two = ((a, c), (a, d), (b, d)), ((a, c), (b, d), (b, c))
        three = ((d, a), (d, b), (d, c))
        cases.append(([], [one], [*two], [three], [])[n_inside])
    return cases


def _march(values: np.ndarray, tetrahedra: np.ndarray) -> np.ndarray:
    """Return [F, 3, 2] triangles, each corner the lattice edge that it is on, the lower number first."""
    pattern = ((values[tetrahedra] < 0) << np.arange(4)).sum(1)
    triangles = [np.zeros((0, 3, 2), np.int64)]
    for case, found in enumerate(_cases()):
        if found:
            members = tetrahedra[pattern == case]
            triangles += [members[:, np.array(triangle)] for triangle in found]
    return np.sort(np.concatenate(triangles), axis=2)


def _positions(point: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Return [M, 3] float64 of lattice points by number."""
    shape = np.array(lattice.shape)
    n_corners = int((shape + 1).prod())
    is_middle = point >= n_corners
    of_corner = np.stack(np.unravel_index(np.where(is_middle, 0, point), shape + 1), 1)
    of_middle = np.stack(np.unravel_index(np.where(is_middle, point - n_corners, 0), shape), 1) + 0.5
    return np.array(lattice.low) + lattice.cell * np.where(is_middle[:, None], of_middle, of_corner)
