from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.distances import SurfaceQuery, surface_distance, vertex_distance
from diffrender.geometry.primitives import Triangles, box, icosphere, plane, torus
from diffrender.threads import threads_to_kernels


def brute_force_distance(point: Tensor, corners: Tensor) -> float:
    """Return the distance of a point to a triangle by brute force, with none of the kernel's formulas.

    The minimum of the distances to the three edges and, if the projection is inside, to the plane.
    """
    candidates = []
    for k in range(3):
        p, q = corners[k], corners[(k + 1) % 3]
        length2 = float((q - p).dot(q - p))
        t = min(max(float((point - p).dot(q - p)) / length2, 0.0), 1.0) if length2 > 0 else 0.0
        candidates.append(float((point - p - t * (q - p)).norm()))
    basis = torch.stack([corners[1] - corners[0], corners[2] - corners[0]], 1)
    if float(torch.linalg.cond(basis)) < 1e6:
        v, w = torch.linalg.lstsq(basis, (point - corners[0])[:, None]).solution[:, 0].tolist()
        if v >= 0 and w >= 0 and v + w <= 1:
            candidates.append(float((point - corners[0] - basis @ torch.tensor([v, w], dtype=torch.float64)).norm()))
    return min(candidates)


def soup(seed: int, n_faces: int) -> Triangles:
    """Return random triangles, including needles, points and duplicates."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn((3 * n_faces, 3), generator=generator, dtype=torch.float64)
    vertices[4] = vertices[3] + 1e-7 * vertices[4]
    faces = torch.arange(3 * n_faces).reshape(-1, 3)
    faces[2] = torch.tensor([7, 7, 7])
    return Triangles(vertices, torch.cat([faces, faces[3:4]]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_faces=st.integers(3, 40))
def test_closest_points_match_brute_force(seed: int, n_faces: int) -> None:
    surface = soup(seed, n_faces)
    points = torch.randn((20, 3), generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    points[:3] = surface.vertices[:3]
    found = SurfaceQuery(surface).closest(points)
    corners = surface.vertices[surface.faces]
    expected = torch.tensor(
        [[brute_force_distance(p, triangle) for triangle in corners] for p in points], dtype=torch.float64
    )
    assert torch.allclose(found.distance, expected.min(1).values, atol=1e-7)
    # The face is the lowest of the closest, the point is on it, and the distance is right.
    assert torch.allclose(expected.gather(1, found.face[:, None])[:, 0], found.distance, atol=1e-7)
    assert torch.allclose((points - found.points).norm(dim=1), found.distance, atol=1e-12)
    for p, f in zip(found.points, found.face, strict=True):
        assert brute_force_distance(p, corners[f]) < 1e-7
    assert not bool((found.face == n_faces).any())  # a copy of face 3


@pytest.mark.parametrize(
    ("point", "closest"),
    [
        ((0.25, 0.25, 2.0), (0.25, 0.25, 0.0)),  # above the interior
        ((-1.0, -2.0, 0.0), (0.0, 0.0, 0.0)),  # beyond each corner
        ((3.0, -1.0, 1.0), (1.0, 0.0, 0.0)),
        ((-1.0, 3.0, 0.0), (0.0, 1.0, 0.0)),
        ((0.5, -2.0, 0.0), (0.5, 0.0, 0.0)),  # beyond each edge
        ((-3.0, 0.25, 1.0), (0.0, 0.25, 0.0)),
        ((1.0, 1.0, -1.0), (0.5, 0.5, 0.0)),
    ],
)
def test_all_regions_of_a_triangle(point: tuple[float, ...], closest: tuple[float, ...]) -> None:
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for turn in range(3):
        faces = torch.arange(3).roll(turn)[None]
        found = SurfaceQuery(Triangles(corners, faces)).closest(torch.tensor([point]))
        assert torch.allclose(found.points, torch.tensor([closest], dtype=torch.float64), atol=1e-15)


def test_a_needle_is_measured_exactly() -> None:
    """The barycentrics of a triangle a billion times as long as high are mostly rounding errors."""
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.3, 1e-9, 0.0]], dtype=torch.float64)
    found = SurfaceQuery(Triangles(corners, torch.tensor([[0, 1, 2]]))).closest(torch.tensor([[0.7, 0.0, 0.5]]))
    assert torch.allclose(found.points, torch.tensor([[0.7, 0.0, 0.0]], dtype=torch.float64), atol=1e-8)


def test_many_points_against_many_faces_and_any_number_of_threads() -> None:
    """On a fine torus the distance is that of the ideal torus, up to the height of the arcs."""
    surface = SurfaceQuery(torus(1.0, 0.4, 300, 100))
    points = torch.rand((5000, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4 - 2
    exact = torch.hypot(torch.hypot(points[:, 0], points[:, 2]) - 1.0, points[:, 1]) - 0.4
    results = []
    for n_threads in (1, 3):
        with threads_to_kernels(n_threads):
            results.append(surface.closest(points))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    assert torch.allclose(results[0].distance, exact.abs(), atol=4e-4)


def test_memory_is_fully_written(poisoned_memory) -> None:
    surface, points = torus(1.0, 0.3, 11, 7), torch.randn(300, 3)
    expected = SurfaceQuery(surface).closest(points)
    with poisoned_memory():
        found = SurfaceQuery(surface).closest(points)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_distance_of_two_spheres_is_the_difference_of_their_radii() -> None:
    small, large = SurfaceQuery(icosphere(5, 1.0)), SurfaceQuery(icosphere(5, 1.25))
    distance = surface_distance(small, large, 20_000)
    for measured in (distance, distance.there, distance.back):
        assert measured.rms == pytest.approx(0.25, abs=2e-4)
        assert measured.mean == pytest.approx(0.25, abs=2e-4)
        assert measured.p95 == pytest.approx(0.25, abs=4e-4)
        assert measured.max == pytest.approx(0.25, abs=6e-4)
        assert measured.normal_deg < 0.3
    assert vertex_distance(small, large) == pytest.approx(0.25, abs=2e-4)


def test_the_two_directions_differ_if_one_surface_is_part_of_the_other() -> None:
    """A square of side 1 inside one of side 3: all distances are 0 there, and known back."""
    part, whole = SurfaceQuery(plane(1, 1)), SurfaceQuery(plane(3, 3))
    distance = surface_distance(part, whole, 50_000, seed=4)
    assert distance.there.max < 1e-14
    x = (np.arange(1500) + 0.5) / 1500 * 3 - 1.5
    beyond = np.maximum(np.abs(x) - 0.5, 0)
    known = np.hypot(beyond[:, None], beyond[None, :])
    assert distance.back.mean == pytest.approx(known.mean(), rel=0.005)
    assert distance.back.rms == pytest.approx(math.sqrt((known**2).mean()), rel=0.005)
    assert distance.back.p95 == pytest.approx(float(np.quantile(known, 0.95)), rel=0.01)
    assert distance.back.max == pytest.approx(math.sqrt(2), rel=0.02)
    assert distance.mean == pytest.approx(distance.back.mean / 2)
    assert distance.rms == pytest.approx(distance.back.rms / math.sqrt(2))
    assert distance.max == distance.back.max
    both = np.concatenate([np.zeros(known.size), known.ravel()])
    assert distance.p95 == pytest.approx(float(np.quantile(both, 0.95)), rel=0.01)
    # And swapped.
    other = surface_distance(whole, part, 50_000, seed=4)
    assert (other.there, other.back) == (distance.back, distance.there)


def test_the_angle_between_normals() -> None:
    flat = plane(1, 1, 4, 4)
    for degrees in (0.0, 1e-3, 30.0, 120.0, 180.0):
        turn = math.radians(degrees)
        # A plane through the same line, tilted about the z axis.
        rotation = torch.tensor([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
        tilted = Triangles(flat.vertices.double() @ rotation.double().T, flat.faces)
        measured = surface_distance(SurfaceQuery(flat), SurfaceQuery(tilted), 500).normal_deg
        assert measured == pytest.approx(degrees, abs=1e-5)


def test_faces_without_a_normal_do_not_make_the_angle_nan() -> None:
    flat = plane(1, 1)
    dot = torch.tensor([[0.0, 0.01, 0.0]])
    with_dot = Triangles(torch.cat([flat.vertices, dot]), torch.cat([flat.faces, torch.tensor([[4, 4, 4]])]))
    assert surface_distance(SurfaceQuery(flat), SurfaceQuery(with_dot), 200).normal_deg == 0.0


def test_vertex_distance_is_palfingers_measure() -> None:
    """A corner pulled out of a box: d1 of the moved vertex and d2 of its old position are known."""
    plain, pulled = box(1.0), box(1.0)
    vertices = pulled.vertices.clone()
    vertices[7] = torch.tensor([0.5, 0.5, 0.9])
    pulled = Triangles(vertices, pulled.faces)
    d2 = float(SurfaceQuery(pulled).closest(plain.vertices[7:8]).distance)
    assert 0 <= d2 < 0.4
    expected = math.sqrt((0.4**2 / 8 + d2**2 / 8) / 2)
    assert vertex_distance(SurfaceQuery(plain), SurfaceQuery(pulled)) == pytest.approx(expected, rel=1e-6)
    assert vertex_distance(SurfaceQuery(pulled), SurfaceQuery(plain)) == pytest.approx(expected, rel=1e-6)
    # A vertex without a face is not part of the surface.
    stray = Triangles(torch.cat([vertices, torch.tensor([[100.0, 0.0, 0.0]])]), pulled.faces)
    assert vertex_distance(SurfaceQuery(plain), SurfaceQuery(stray)) == pytest.approx(expected, rel=1e-6)


def test_a_surface_has_distance_0_from_itself() -> None:
    surface = SurfaceQuery(torus(1.0, 0.3, 20, 12))
    distance = surface_distance(surface, surface, 2000)
    assert distance.max < 1e-12 and distance.normal_deg < 1e-5
    assert vertex_distance(surface, surface) < 1e-15


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(1, 3, dtype=torch.int64), r"vertices must have shape \[V, 3\]"),
        (torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64), "no faces"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 3]]), r"must be in 0\.\.2"),
        (torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]]), "vertices must be finite"),
    ],
)
def test_invalid_surfaces_are_refused(vertices: Tensor, faces: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        SurfaceQuery(Triangles(vertices, faces))


def test_invalid_queries_are_refused() -> None:
    surface = SurfaceQuery(box())
    with pytest.raises(ShapeError, match="points must be finite"):
        surface.closest(torch.tensor([[0.0, torch.inf, 0.0]]))
    with pytest.raises(ShapeError, match="points must have shape"):
        surface.closest(torch.zeros(3))
    with pytest.raises(ShapeError, match="n_samples must be at least 1, got 0"):
        surface_distance(surface, surface, 0)
    assert surface.closest(torch.zeros(0, 3)).distance.shape == (0,)
