"""Find the surface that pictures show, wherever it goes, by the depths of their pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.depth_fusion import fuse_depths
from diffrender.geometry.isosurface import Lattice, isosurface
from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.topology import Topology
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.depth_sweep import DepthMaps
from diffrender.setup.swept_views import SweptViews, shrink_views

# What counts is not farther away than so many times the middle of what a view shows, without this share of outliers at
# either end of each axis but with a margin of this part of what is between; and on a grid of so many cells along each
# axis it is seen by several views.
REACH, OUTLIERS, MARGIN, COARSE = 2.0, 0.002, 0.25, 40
FEWEST_POINTS = 1000
# Cells are as large as small pixels where the middle is, or larger: there are no more than so many.
MOST_CELLS = 2_000_000
# In cells: depths tell of points so far behind them; the blur of what they tell; and a wider one for points that
# nothing tells of, beside which so much is known.
BEHIND, BLUR, FILL, LEAST_WEIGHT = 3.0, 0.8, 1.2, 0.2
# Cells about the bounds, for a surface that is flat along an axis.
PADDING = 5
# A point is outside if so many pictures see it, or see through it; so many show the surface at their depth.
SEEN, AT = 2, 3
# Rings of vertices: gaps twice as wide are closed, threads twice as wide are cut.
GAP, THREAD = 14, 2
# Parts of fewer faces than this share of the largest part's are left out.
SMALLEST_PART = 0.02
# Rounds of smoothing of the border, which is a staircase.
SMOOTHING = 50
# Length of edges in cells, and remeshing passes.
EDGE, REMESHING = 2.0, 5
# Small pixels beside those that see nothing are not compared: the border goes on somewhere.
MARGIN_PX = 2
# What a picture shows so much nearer than the surface, in parts of its depth, hides it.
HIDDEN = 0.1
# Less than this share of all pixels is not worth a fit, nor is a view of which less is known.
LEAST_COMPARED, LEAST_SEEN = 0.1, 0.02


class SeenSurface(NamedTuple):
    """What was found.

    mesh: an open surface. fit, heldout: the views that see it, in which what is not of it is unknown.
    compared: the share of pixels of the fitted views that are known.
    blind: the names of fitted and held-out views that see hardly anything of it, and are left out.
    """

    mesh: Triangles
    fit: Views
    heldout: Views | None
    compared: float
    blind: tuple[str, ...]


def find_seen_surface(fit: Views, heldout: Views | None, swept: SweptViews, box: Tensor | None = None) -> SeenSurface:
    """Return the surface that the fitted views show, open where they show nothing.

    box: [2, 3] low and high corner of what counts; if omitted, about what they look at.
    Raises DataError if there is none.
    Source: B. Curless, M. Levoy, "A volumetric method for building complex models from range images" (1996).
    """
    cameras, depths = swept.fitted_cameras, swept.fitted_depths
    distances = (cameras.positions_w() - swept.middles[: swept.n_fit]).norm(dim=1)
    low, high = _bounds(depths, distances) if box is None else (box[0], box[1])
    pixel = float((distances / cameras.focal_px.mean(1)).median())
    size = (high - low).double()
    longest = float(size.max())
    coarsest = longest * (float((size / longest).prod()) / MOST_CELLS) ** (1 / 3)
    cell = max(pixel, coarsest)
    if box is None:
        low, high = low - PADDING * cell, high + PADDING * cell
    mesh = _fuse(cameras, depths, low, high, cell)
    fit, lost = _where_known(fit, _where_seen(mesh, cameras, depths))
    if fit is None or fit.weights is None or (box is None and float(fit.weights.mean()) < LEAST_COMPARED):
        raise DataError("depths show hardly anything of its pictures")
    blind, compared = lost, float(fit.weights.mean())
    if heldout is not None:
        # What they show has no say in what is compared.
        heldout, lost = _where_known(heldout, _where_seen(mesh, shrink_views(heldout).cameras, None))
        blind += lost
    return SeenSurface(mesh, fit, heldout, compared, blind)


def _bounds(depths: DepthMaps, distances: Tensor) -> tuple[Tensor, Tensor]:
    """Return the low and high corner [3] of a box about what several views see, not far behind their middles.

    distances: [N] of these middles.
    """
    from scipy import ndimage

    is_near = depths.is_reliable & (depths.depth < REACH * distances[:, None, None])
    points = depths.points[is_near].numpy()
    if len(points) < FEWEST_POINTS:
        raise DataError("its pictures do not tell depths")
    ends = np.quantile(points, [OUTLIERS, 1 - OUTLIERS], axis=0).astype(np.float32)
    margin = MARGIN * (ends[1] - ends[0])
    low, size = ends[0] - margin, (ends[1] - ends[0] + 2 * margin) / COARSE
    votes = np.zeros((COARSE,) * 3, np.int32)
    for of_view, near in zip(depths.points, is_near, strict=True):
        index = np.floor((of_view[near].numpy() - low) / size).astype(np.int64)
        index = np.unique(index[((index >= 0) & (index < COARSE)).all(1)], axis=0)
        votes[tuple(index.T)] += 1
    label, count = ndimage.label(votes >= AT, np.ones((3, 3, 3)))
    cells = np.bincount(label.ravel(), minlength=count + 1)[1:]
    if not count:
        raise DataError("its pictures do not tell depths")
    corner = np.argwhere(np.isin(label, 1 + np.flatnonzero(cells >= SMALLEST_PART * cells.max())))
    low, high = low + size * corner.min(0).astype(np.float32), low + size * (corner.max(0) + 1).astype(np.float32)
    return torch.from_numpy(low), torch.from_numpy(high)


class _Grid(NamedTuple):
    """What depths say of the points of a grid [X, Y, Z]: the first is at `low` [3], and they are a `cell` apart.

    distance: how far they are before the surface, in cells, up to BEHIND; -BEHIND where nothing is said.
    near: how many pictures see the surface no farther than that.
    """

    low: Tensor
    cell: float
    distance: Tensor
    near: Tensor

    def interpolate(self, values: Tensor, points: Tensor) -> Tensor:
        """Return `values` [X, Y, Z] at points [P, 3]: [P]."""
        size = torch.tensor(values.shape)
        place = 2 * (points - self.low) / (self.cell * (size - 1)) - 1
        at = place.flip(1)[None, :, None, None]
        return torch.nn.functional.grid_sample(values[None, None], at, align_corners=True, padding_mode="border")[
            0, 0, :, 0, 0
        ]


def _observe(cameras: Cameras, depths: DepthMaps, low: Tensor, high: Tensor, cell: float) -> _Grid:
    """Return what depths say of the points of a grid over the box `low`..`high` [3]."""
    from scipy.ndimage import gaussian_filter

    axes = [first + cell * torch.arange(int((last - first) / cell) + 2) for first, last in zip(low, high, strict=True)]
    center, focal, rows = cameras.center_px.double(), cameras.focal_px.double(), cameras.cam_from_world[:, :3].double()
    matrices = torch.cat([focal[..., None] * rows[:, :2] + center[..., None] * rows[:, 2:], rows[:, 2:]], 1)
    arrays = (each.numpy() for each in (matrices, depths.depth, depths.is_reliable))
    total, count, near = fuse_depths([axis.numpy() for axis in axes], *arrays, cell, BEHIND)
    total, weight = (np.where(count >= SEEN, part, 0).astype(np.float32) for part in (total, count))
    distance = np.full(weight.shape, -BEHIND, np.float32)
    parts = total, weight
    wide, narrow = ([gaussian_filter(part, sigma, mode="constant") for part in parts] for sigma in (FILL, BLUR))
    # What nothing tells of is as what is around it.
    for (sums, weights), where in ((wide, wide[1] > LEAST_WEIGHT), (narrow, weight > 0)):
        distance[where] = sums[where] / weights[where]
    return _Grid(low, cell, torch.from_numpy(distance), torch.from_numpy(near).float())


def _fuse(cameras: Cameras, depths: DepthMaps, low: Tensor, high: Tensor, cell: float) -> Triangles:
    """Return the surface in the box `low`..`high` [3] that most depths agree on, of even triangles."""
    from diffrender.geometry.remesh.remesh import RemeshOptions, remesh

    grid = _observe(cameras, depths, low, high, cell)

    def outside(points: Tensor) -> Tensor:
        beyond = torch.maximum(low - points, points - high).amax(1)
        return torch.maximum(cell * grid.interpolate(grid.distance, points), beyond)

    surface = isosurface(outside, Lattice.around(low - cell, high + cell, cell))
    is_within = ((surface.vertices > low + cell) & (surface.vertices < high - cell)).all(1)
    is_seen = is_within & (grid.interpolate(grid.near, surface.vertices) >= AT)
    open_surface = _cut_out(surface, is_seen, is_within)
    if not len(open_surface.faces):
        raise DataError("depths of its pictures do not agree on a surface")
    even = remesh(*open_surface, EDGE * cell, passes=REMESHING, options=RemeshOptions(features_deg=None))
    return Triangles(even.vertices, even.faces)


def _cut_out(surface: Triangles, is_seen: Tensor, is_within: Tensor) -> Triangles:
    """Return the part of a surface whose vertices are seen [V] bool, without gaps, threads and crumbs.

    is_within: [V] bool, vertices that may fill gaps.
    """
    from scipy import sparse

    n = len(surface.vertices)
    edges = Topology(surface.faces).edges.numpy()
    ends = np.concatenate([edges, edges[:, ::-1]])
    beside = sparse.csr_matrix((np.ones(len(ends), np.float32), tuple(ends.T)), (n, n))

    def grown(vertices: np.ndarray, rings: int) -> np.ndarray:
        for _ in range(rings):
            vertices = vertices | (beside @ vertices.astype(np.float32) > 0)
        return vertices

    kept = grown(is_seen.numpy(), GAP)
    kept = ~grown(~kept, GAP + THREAD)
    kept = grown(kept, THREAD) & is_within.numpy()
    while True:
        faces = surface.faces[torch.from_numpy(kept)[surface.faces].all(1)]
        topology = Topology(faces)
        # Where parts only touch, more than two edges of the border meet.
        touching = torch.bincount(topology.edges[topology.is_border].reshape(-1), minlength=n) > 2
        if not touching.any():
            break
        kept &= ~touching.numpy()
    part = topology.face_component
    size = torch.bincount(part, minlength=1)
    faces = faces[(size >= SMALLEST_PART * size.max())[part]]
    used, index = faces.unique(return_inverse=True)
    vertices, topology = surface.vertices[used], Topology(index)
    border = topology.edges[topology.is_border]
    for _ in range(SMOOTHING):
        vertices = vertices + 0.5 * laplacian_vectors(vertices, border)
    return Triangles(vertices, index)


def _where_seen(mesh: Triangles, cameras: Cameras, depths: DepthMaps | None) -> Tensor:
    """Return the pixels [N, H, W] bool of small cameras that see the front of the mesh, and no other thing before it.

    Also where its border is before another part of it, from where pictures pull it to where the part ends.

    depths: theirs, if they are known.
    """
    from scipy import ndimage

    normals = face_normals(*mesh)
    scene = Scene({"surface": Object(Mesh(*mesh), Unlit(torch.ones(3)))})
    known = torch.zeros(len(cameras), cameras.height, cameras.width, dtype=torch.bool)
    for view in range(len(cameras)):
        seen = render(scene, cameras.select([view]))
        face, depth = seen.face_id[0], seen.depth[0]
        ahead = mesh.vertices[mesh.faces[:, 0]] - cameras.select([view]).positions_w()
        faces_it = (normals * ahead).sum(1) < 0
        shown = (face >= 0) & faces_it[face.clamp_min(0)]
        if depths is not None:
            shown &= ~(depths.is_reliable[view] & (depths.depth[view] < (1 - HIDDEN) * depth))
        known[view] = torch.from_numpy(ndimage.binary_erosion(shown.numpy(), iterations=MARGIN_PX, border_value=1))
    return known


def _where_known(views: Views, known: Tensor) -> tuple[Views | None, tuple[str, ...]]:
    """Return `views` of which nothing else is known than small pixels [N, h, w] bool, and names of those left out."""
    share = known.float().mean((1, 2))
    blind = tuple(name for name, seen in zip(views.names, share.tolist(), strict=True) if seen < LEAST_SEEN)
    kept = (share >= LEAST_SEEN).nonzero()[:, 0]
    if not len(kept):
        return None, blind
    views = views.select(kept) if blind else views
    weights = torch.nn.functional.interpolate(known[kept, None].to(views.images), views.images.shape[1:3])[:, 0]
    return replace(views, weights=weights if views.weights is None else weights * views.weights), blind
