"""Remeshing keeps the shape of the surface, transfers vertex attributes, and makes even triangles."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.surfaces import (
    area_and_volume,
    assert_manifold,
    boundary_edges,
    edge_lengths,
    edges_of,
    face_qualities,
    random_surface,
    shape_of,
)
from torch import Tensor

from diffrender.geometry.primitives import box, bumpy_sphere, icosphere, plane, torus
from diffrender.geometry.remesh.remesh import Remeshed, RemeshOptions, remesh

# Error of a linear function of the position, whose values are 1 to 30 here, after some tens of float64 operations.
EXACT = 1e-9
N_SEEDS = 1000


def is_manifold(faces: Tensor, n_vertices: int) -> bool:
    try:
        assert_manifold(faces, n_vertices)
    except AssertionError:
        return False
    return True


@cache
def manifold_surface(seed: int) -> tuple[Tensor, Tensor]:
    """Return a random mesh in which no holes touch at a vertex."""
    while True:
        vertices, faces = random_surface(seed)
        if is_manifold(faces, len(vertices)):
            return vertices, faces
        seed += N_SEEDS


def linear_function(seed: int, n_values: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, n_values, generator=generator).double(), torch.randn(n_values, generator=generator).double()


def points_to_segments(points: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Return the distance [P] of each point to the nearest segment."""
    along = ends - starts
    share = ((points[:, None] - starts) * along).sum(-1) / along.square().sum(-1)
    nearest = starts + share.clamp(0, 1)[..., None] * along
    return (points[:, None] - nearest).norm(dim=-1).min(1).values


@pytest.mark.parametrize("group", [0, 1, *(pytest.param(g, marks=pytest.mark.slow) for g in range(2, 10))])
def test_a_thousand_random_meshes_keep_their_shape_and_linear_attributes(group: int) -> None:
    for number in range(group, N_SEEDS, 10):
        vertices, faces = manifold_surface(number)
        matrix, offset = linear_function(number, 4)
        values = vertices @ matrix + offset
        corners = values[faces][..., 2:]
        spacing = float(edge_lengths(vertices, faces).median())
        target = spacing * (0.5, 0.7, 1.0, 2.0)[number % 4]
        result = remesh(vertices, faces, target, values[:, :2], corners, passes=1 + number % 2)
        assert_manifold(result.faces, len(result.vertices))
        assert shape_of(result.faces) == shape_of(faces), number
        found = result.vertices @ matrix + offset
        torch.testing.assert_close(result.attributes, found[:, :2], rtol=0, atol=EXACT)
        torch.testing.assert_close(result.corner_attributes, found[result.faces][..., 2:], rtol=0, atol=EXACT)


def settled(vertices: Tensor, faces: Tensor, target: float, passes: int = 8) -> Remeshed:
    result = remesh(vertices, faces, target, passes=passes)
    assert_manifold(result.faces, len(result.vertices))
    return result


def share_within(lengths: Tensor, target: float) -> float:
    """Return the fraction of edges between 4/5 and 4/3 of the target."""
    return float(((lengths > 0.8 * target) & (lengths < 4 / 3 * target)).double().mean())


@pytest.mark.parametrize(
    ("vertices", "faces", "target"),
    [(*bumpy_sphere(4), 0.06), (*icosphere(1), 0.15), (*torus(1.0, 0.4, 10, 20), 0.12), (*bumpy_sphere(4), 0.12)],
    ids=["finer", "much finer", "stretched", "coarser"],
)
def test_edges_reach_the_target_and_triangles_become_regular(vertices: Tensor, faces: Tensor, target: float) -> None:
    result = settled(vertices, faces, target)
    lengths = edge_lengths(result.vertices, result.faces)
    assert share_within(lengths, target) > 0.95
    assert 0.95 * target < lengths.median() < 1.05 * target
    quality = face_qualities(result.vertices, result.faces)
    assert quality.mean() > 0.95 and quality.min() > 0.2
    area, volume = area_and_volume(vertices, faces)
    new_area, new_volume = area_and_volume(result.vertices, result.faces)
    # Larger triangles lose more of a curved surface: about (target / radius of curvature)^2.
    assert new_volume == pytest.approx(volume, rel=0.05) and new_area == pytest.approx(area, rel=0.05)


def test_passes_on_a_good_mesh_change_little() -> None:
    target = 0.08
    mesh = settled(*bumpy_sphere(3), target, passes=10)
    area, volume = area_and_volume(mesh.vertices, mesh.faces)
    edits = 0
    for _ in range(10):
        mesh = remesh(mesh.vertices, mesh.faces, target)
        edits += mesh.edits.splits + mesh.edits.collapses + mesh.edits.flips
    assert edits / 10 < 0.005 * len(mesh.faces) * 1.5  # half a percent of the edges
    new_area, new_volume = area_and_volume(mesh.vertices, mesh.faces)
    assert new_volume == pytest.approx(volume, rel=2e-3) and new_area == pytest.approx(area, rel=2e-3)


def test_an_even_mesh_stays_as_it_is() -> None:
    sphere = icosphere(3)
    mesh = remesh(*sphere, float(edge_lengths(*sphere).mean()), options=RemeshOptions(relax=0))
    assert torch.equal(mesh.vertices, sphere.vertices) and torch.equal(mesh.faces, sphere.faces)
    assert mesh.edits.splits == mesh.edits.collapses == mesh.edits.flips == mesh.edits.slides == 0


def test_sliding_keeps_the_volume_and_evens_the_triangles() -> None:
    sphere = icosphere(3)
    generator = torch.Generator().manual_seed(0)
    target = float(edge_lengths(*sphere).mean())
    vertices = sphere.vertices.double() + 0.02 * target * torch.randn(len(sphere.vertices), 3, generator=generator)
    vertices = 2 * torch.nn.functional.normalize(vertices, dim=1)
    # Edges between 4/5 and 4/3 of the target are not edited, so vertices only slide.
    lengths = edge_lengths(vertices, sphere.faces)
    middle = float((lengths.min() * lengths.max()).sqrt())
    assert lengths.min() > 0.8 * middle and lengths.max() < 4 / 3 * middle
    result = remesh(vertices, sphere.faces, middle)
    assert result.edits.splits == result.edits.collapses == result.edits.flips == 0
    assert result.edits.slides > 600
    assert torch.equal(result.faces, sphere.faces)
    assert area_and_volume(result.vertices, result.faces)[1] == pytest.approx(
        area_and_volume(vertices, sphere.faces)[1], rel=1e-6
    )
    assert face_qualities(result.vertices, result.faces).mean() > face_qualities(vertices, sphere.faces).mean() + 0.002


def test_folds_are_unfolded() -> None:
    sphere = icosphere(4)
    target = float(edge_lengths(*sphere).mean())
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(sphere.vertices.shape, generator=generator)
    vertices = torch.nn.functional.normalize(sphere.vertices + 0.2 * target * noise, dim=1)

    def n_folded(place: Tensor, faces: Tensor) -> int:
        a, b, c = place[faces].unbind(1)
        return int((torch.linalg.det(torch.stack([a, b, c], 1)) < 0).sum())

    assert n_folded(vertices, sphere.faces) > 10
    result = remesh(vertices, sphere.faces, target, passes=2)
    assert n_folded(result.vertices, result.faces) == 0


def test_a_box_keeps_its_edges_and_corners() -> None:
    shape = box((1.0, 0.7, 0.4))
    result = settled(*shape, 0.06)
    half = shape.vertices.amax(0)
    on_side = (result.vertices.abs() - half).abs() < 1e-6
    assert on_side.any(1).all(), "a vertex has left the sides"
    assert (on_side.sum(1) == 3).sum() == 8, "the corners"
    # Faces stay in the sides: area and volume are those of the box.
    assert area_and_volume(result.vertices, result.faces) == pytest.approx((2 * (0.7 + 0.4 + 0.28), 0.28), rel=1e-5)
    assert share_within(edge_lengths(result.vertices, result.faces), 0.06) > 0.9


def test_without_features_a_box_is_rounded() -> None:
    vertices, faces = settled(*box(1.0), 0.05).vertices, settled(*box(1.0), 0.05).faces
    kept = remesh(vertices, faces, 0.15, passes=4)
    rounded = remesh(vertices, faces, 0.15, passes=4, options=RemeshOptions(features_deg=None))
    assert area_and_volume(kept.vertices, kept.faces)[1] == pytest.approx(1, rel=1e-5)
    assert area_and_volume(rounded.vertices, rounded.faces)[1] < 0.999


@pytest.mark.parametrize("target", [0.05, 0.3])
def test_a_rectangle_keeps_its_outline(target: float) -> None:
    vertices, faces = plane(2.0, 1.0, 11, 7)
    result = settled(vertices, faces, target)
    rim = torch.from_numpy(boundary_edges(result.faces)).unique()
    x, _, z = result.vertices[rim].abs().unbind(1)
    assert torch.equal((x == 1.0) | (z == 0.5), torch.ones(len(rim), dtype=torch.bool))
    assert ((x == 1.0) & (z == 0.5)).sum() == 4
    assert result.vertices[:, 1].abs().max() < 1e-7
    assert area_and_volume(result.vertices, result.faces)[0] == pytest.approx(2, rel=1e-6)
    rim_lengths = (result.vertices[boundary_edges(result.faces)].diff(dim=1)).norm(dim=-1)
    assert 0.7 * target < rim_lengths.mean() < 1.4 * target


@pytest.mark.parametrize("number", range(0, 60))
def test_boundaries_of_random_meshes_stay_in_place(number: int) -> None:
    vertices, faces = manifold_surface(number)
    rim = torch.from_numpy(boundary_edges(faces))
    if not len(rim):
        return
    spacing = float(edge_lengths(vertices, faces).median())
    result = remesh(vertices, faces, spacing)
    new_rim = torch.from_numpy(boundary_edges(result.faces))
    off = points_to_segments(result.vertices[new_rim.unique()], *vertices[rim].unbind(1))
    assert off.max() < 0.2 * spacing
    # And all of the old one is still covered: turns of 40 degrees and more are kept, others are cut slightly.
    off = points_to_segments(vertices[rim.unique()], *result.vertices[new_rim].unbind(1))
    assert off.max() < 0.3 * spacing


@pytest.mark.parametrize(("height", "flips"), [(0.3, True), (0.45, False)])
def test_flips_do_not_make_creases(height: float, flips: bool) -> None:
    # The edge 0 1 is in a valley below 2 and 3; its ends have eight neighbours each. Flipped, it is a ridge whose sides
    # have a slope of height / 0.7: a bend of 46 degrees in total, or of 65, more than the 60 of a feature.
    place = [(0.0, -0.7, 0), (0, 0.7, 0), (-1, 0, height), (1, 0, height)]
    for sign in (-1, 1):
        angles = torch.deg2rad(torch.linspace(145, 395, 7).double()[1:-1])
        place += [(-sign * 1.45 * float(a.cos()), sign * (0.7 - 1.45 * float(a.sin())), 0.0) for a in angles]
    faces = [[0, 1, 2], [1, 0, 3]]
    vertices = torch.tensor(place).double()
    faces += [[0, v, w] for v, w in pairwise([2, 4, 5, 6, 7, 8, 3])]
    faces += [[1, v, w] for v, w in pairwise([3, 9, 10, 11, 12, 13, 2])]
    result = remesh(vertices, torch.tensor(faces), 1.2, options=RemeshOptions(relax=0))
    assert result.edits.splits == result.edits.collapses == 0
    edges = {tuple(edge) for edge in edges_of(result.faces).tolist()}
    assert ((2, 3) in edges, (0, 1) in edges) == (flips, not flips)


def test_targets_may_differ_per_vertex() -> None:
    vertices, faces = icosphere(3)
    target = 0.04 + 0.08 * (vertices[:, 1] + 1)
    for _ in range(8):
        result = remesh(vertices, faces, target)
        vertices, faces = result.vertices, result.faces
        target = 0.04 + 0.08 * (vertices[:, 1] + 1)
    assert_manifold(faces, len(vertices))
    edges = vertices[faces[:, [0, 1, 1, 2, 2, 0]]].reshape(-1, 2, 3)
    lengths, height = edges.diff(dim=1).norm(dim=-1)[:, 0], edges.mean(1)[:, 1]
    for low, high in ((-1.0, -0.6), (-0.2, 0.2), (0.6, 1.0)):
        some = (height > low) & (height < high)
        expected = 0.04 + 0.08 * (height[some] + 1)
        assert (lengths[some] / expected).median() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(result.target_length, target, rtol=0, atol=0.01)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ratio=st.floats(0.3, 3.0),
    features_deg=st.one_of(st.none(), st.floats(20, 170)),
    relax=st.floats(0, 1),
    spread=st.floats(0, 1),
    with_corners=st.booleans(),
)
def test_any_options_keep_the_mesh_a_mesh(
    seed: int, ratio: float, features_deg: float | None, relax: float, spread: float, with_corners: bool
) -> None:
    vertices, faces = manifold_surface(seed)
    generator = torch.Generator().manual_seed(seed)
    lengths = edge_lengths(vertices, faces)
    target = ratio * lengths.median() * torch.exp(spread * torch.randn(len(vertices), generator=generator))
    corners = torch.rand(len(faces), 3, 2, generator=generator) if with_corners else None
    options = RemeshOptions(features_deg, relax)
    result = remesh(vertices, faces, target, vertices, corners, passes=2, options=options)
    assert_manifold(result.faces, len(result.vertices))
    assert shape_of(result.faces) == shape_of(faces)
    torch.testing.assert_close(result.attributes, result.vertices, rtol=0, atol=EXACT)
    assert torch.isfinite(result.target_length).all() and (result.target_length > 0).all()
    area, _ = area_and_volume(vertices, faces)
    new_area, _ = area_and_volume(result.vertices, result.faces)
    assert new_area < 1.2 * area


def test_the_result_is_deterministic_and_has_the_input_dtypes() -> None:
    vertices, faces = bumpy_sphere(3)
    values, corners = torch.rand(len(vertices), 5), torch.rand(len(vertices), 2).double()[faces]
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(remesh(vertices, faces, 0.07, values, corners, passes=2))
    first, second = results
    for name in ("vertices", "faces", "attributes", "corner_attributes", "target_length"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert first.edits == second.edits
    assert first.vertices.dtype == first.attributes.dtype == torch.float32
    assert first.corner_attributes.dtype == torch.float64 and first.faces.dtype == torch.int64
    # The inputs are unchanged.
    assert torch.equal(vertices, bumpy_sphere(3).vertices) and torch.equal(faces, bumpy_sphere(3).faces)


def test_fresh_memory_does_not_matter(poisoned_memory) -> None:
    mesh = bumpy_sphere(2)
    values, corners = mesh.vertices.clone(), mesh.vertices[mesh.faces]
    plain = remesh(*mesh, 0.1, values, corners, passes=3)
    with poisoned_memory():
        poisoned = remesh(*mesh, 0.1, values, corners, passes=3)
    for name in ("vertices", "faces", "attributes", "corner_attributes", "target_length"):
        assert torch.equal(getattr(plain, name), getattr(poisoned, name))


def test_a_tetrahedron_cannot_collapse() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    result = remesh(vertices, faces, 100.0, passes=3, options=RemeshOptions(features_deg=None))
    assert torch.equal(result.faces, faces) and result.edits.refused_topology == 3 * 6
    alone = remesh(vertices, faces[:1], 100.0)
    assert torch.equal(alone.faces, torch.tensor([[0, 2, 1]]).sort().values[:, [0, 2, 1]])
    assert alone.edits.refused_topology == 3


def test_one_split_by_hand() -> None:
    #   3---2      The diagonal 0 2 is too long; its middle gets the number 4.
    #   | / |
    #   0---1
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    corners = torch.arange(12.0).reshape(2, 3, 2)
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    result = remesh(vertices, faces, 1.0, values, corners, options=RemeshOptions(relax=0))
    assert result.edits.splits == 1 and result.vertices[4].tolist() == [0.5, 0.5, 0]
    assert result.attributes[:, 0].tolist() == [1, 2, 3, 4, 2]
    found = {
        tuple(zip(face, map(tuple, uv), strict=True))
        for face, uv in zip(result.faces.tolist(), result.corner_attributes.tolist(), strict=True)
    }
    turned = {min(face[i:] + face[:i] for i in range(3)) for face in found}
    assert turned == {
        ((0, (0, 1)), (1, (2, 3)), (4, (2, 3))),
        ((1, (2, 3)), (2, (4, 5)), (4, (2, 3))),
        ((0, (6, 7)), (4, (7, 8)), (3, (10, 11))),
        ((2, (8, 9)), (3, (10, 11)), (4, (7, 8))),
    }


def test_empty_flat_and_unused() -> None:
    nothing = remesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), 1.0)
    assert nothing.vertices.shape == (0, 3) and nothing.faces.shape == (0, 3) and nothing.attributes.shape == (0, 0)
    only_points = remesh(torch.zeros(4, 3), torch.zeros(0, 3, dtype=torch.int64), 1.0)
    assert only_points.vertices.shape == (0, 3)
    # Degenerate faces and coincident vertices: the mesh stays manifold, nothing becomes NaN.
    vertices, faces = icosphere(2)
    flat = vertices * torch.tensor([1.0, 0.0, 0.0])
    for place in (flat, torch.zeros_like(vertices), vertices.where(vertices[:, :1] > 0, 0)):
        result = remesh(place, faces, 0.2, place, passes=2)
        assert_manifold(result.faces, len(result.vertices))
        assert torch.isfinite(result.vertices).all()
        torch.testing.assert_close(result.attributes, result.vertices)
    # A vertex without a face is omitted.
    result = remesh(torch.cat([torch.full((1, 3), 9.0), vertices]), faces + 1, 1.0, passes=1)
    assert_manifold(result.faces, len(result.vertices))
    assert result.vertices.abs().max() <= 1.01
