"""Isosurface extraction: marching tetrahedra on a body-centred cubic lattice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import Triangles

# Minimum distance of a new vertex from either end of its lattice edge, as a fraction of the edge. It avoids triangles
# without area, which the smoothing of a mesh could not repair.
END_MARGIN = 0.02
# Cells along each side of a block; blocks are skipped if the function is far from zero at their centre.
BLOCK = 4
# Maximum slope of the function (1 for a distance).
STEEPEST = 2.0


class Lattice(NamedTuple):
    """A body-centred cubic lattice: the corners of cubic cells and the centre of each cell.

    low: (x, y, z) of the lowest corner. cell: edge length of a cell. shape: number of cells along x, y and z.
    """

    low: tuple[float, float, float]
    cell: float
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, low: Tensor, high: Tensor, cell: float) -> Lattice:
        """Build the lattice that covers the box `low`..`high` [3] and one more layer of cells on every side."""
        size = ((high - low).double() / cell - 1e-6).ceil().long() + 2
        start = (low + high).double() / 2 - size * cell / 2
        x, y, z = start.tolist()
        nx, ny, nz = size.tolist()
        return cls((x, y, z), cell, (nx, ny, nz))


def isosurface(function: Callable[[Tensor], Tensor], lattice: Lattice, blur_cells: float = 0.0) -> Triangles:
    """Extract the zero set of `function` as a closed manifold mesh, with normals towards its positive side.

    function: points [M, 3] float32 -> [M], negative inside. Its slope is assumed to be at most 2, so that few
        evaluations suffice far from the surface; where it jumps, the surface stays closed but may be coarse.
    blur_cells: standard deviation, in cells, of a Gaussian blur applied to the function first: it removes handles,
        holes and other parts thinner than about a cell.
    The surface is cut off at the outermost cells. The mesh is empty if nothing is inside.

    Each face shared by two cells forms four tetrahedra with the two cell centres. A tetrahedron whose corners differ
    in sign contains one or two triangles, which match those of its neighbours, so there are no ambiguous cases.
    Source: A. Doi, A. Koide, "An efficient method of triangulating equi-valued surfaces by using tetrahedral cells"
    (1991); the lattice as in F. Labelle, J. Shewchuk, "Isosurface stuffing" (2007), section 3.
    """
    if min(lattice.shape) < 3:
        raise ShapeError(f"isosurface: the lattice needs at least 3 cells along each axis, got {list(lattice.shape)}")
    corners, middles = (_prepare(grid, lattice.cell, blur_cells) for grid in _lattice_values(function, lattice))
    values = np.concatenate([corners.reshape(-1), middles.reshape(-1)])
    faces = _march(values, _tetrahedra(corners, middles))
    # One number per edge: sorting numbers is several times as fast as sorting pairs.
    edges, index = np.unique(faces[..., 0] * len(values) + faces[..., 1], return_inverse=True)
    a, b = edges // len(values), edges % len(values)
    t = np.clip(values[a] / (values[a] - values[b]), END_MARGIN, 1 - END_MARGIN)[:, None]
    positions = (1 - t) * _positions(a, lattice) + t * _positions(b, lattice)
    vertices = torch.from_numpy(positions).float()
    return Triangles(vertices, torch.from_numpy(index.reshape(-1, 3)).long())


def _lattice_values(function: Callable[[Tensor], Tensor], lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate the function at corners [nx + 1, ny + 1, nz + 1] and centres [nx, ny, nz], float32.

    Far from the surface one value is used for a whole block.
    """
    n_blocks = [-(-(size + 1) // BLOCK) for size in lattice.shape]
    low, cell = torch.tensor(lattice.low, dtype=torch.float64), lattice.cell
    block = torch.cartesian_prod(*(torch.arange(n) for n in n_blocks))
    # The points of a block extend from its first corner to its last centre, half a cell before the next block.
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
    """Blur `grid`, make its outermost layer positive (outside), and replace zeros."""
    if blur_cells > 0:
        from scipy.ndimage import gaussian_filter

        # Infinities and the steps between blocks are far from the surface and must not influence it.
        far = STEEPEST * BLOCK * cell
        grid = gaussian_filter(np.clip(grid, -far, far), blur_cells, mode="nearest")
    for axis in range(3):
        for layer in (0, -1):
            side = np.moveaxis(grid, axis, 0)[layer]
            np.maximum(side, np.float32(cell / 2), out=side)
    grid[grid == 0] = np.float32(1e-6 * cell)
    return grid


def _tetrahedra(corners: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Return the corners [T, 4] of all tetrahedra that may intersect the surface: lattice points, middles last."""
    number = np.arange(corners.size).reshape(corners.shape)
    number_of_middle = corners.size + np.arange(middles.size).reshape(middles.shape)
    found = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3

        def shifted(grid: np.ndarray, steps: dict[int, int], axis: int = axis) -> np.ndarray:
            # The faces between cells i and i + 1 along `axis`: corners i + 1, all cells along the other two axes.
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
        # Seen against the axis the ring is counter-clockwise, so every tetrahedron has a positive volume.
        found += [np.stack([below, ring[k], ring[(k + 1) % 4], above], 1) for k in range(4)]
    return np.concatenate(found)


def _triangle_table() -> list[list[tuple[tuple[int, int], ...]]]:
    """Return the triangles of each sign pattern of a tetrahedron (bit k: corner k is inside), normals outwards.

    A triangle is given by the three edges of the tetrahedron that contain its corners.
    """
    cases = []
    for pattern in range(16):
        # Corners a b c d, those inside first, in an order that keeps the volume positive: seen from a, b c d are
        # counter-clockwise.
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
    """Return triangles [F, 3, 2]; each corner is the lattice edge that contains it, the lower number first."""
    pattern = ((values[tetrahedra] < 0) << np.arange(4)).sum(1)
    triangles = [np.zeros((0, 3, 2), np.int64)]
    for case, found in enumerate(_triangle_table()):
        if found:
            members = tetrahedra[pattern == case]
            triangles += [members[:, np.array(triangle)] for triangle in found]
    return np.sort(np.concatenate(triangles), axis=2)


def _positions(point: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Return the positions [M, 3] float64 of lattice points given by number."""
    shape = np.array(lattice.shape)
    n_corners = int((shape + 1).prod())
    is_middle = point >= n_corners
    of_corner = np.stack(np.unravel_index(np.where(is_middle, 0, point), shape + 1), 1)
    of_middle = np.stack(np.unravel_index(np.where(is_middle, point - n_corners, 0), shape), 1) + 0.5
    return np.array(lattice.low) + lattice.cell * np.where(is_middle[:, None], of_middle, of_corner)
