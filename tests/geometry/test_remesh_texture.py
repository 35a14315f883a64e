"""Remeshing preserves the texture of a mesh: its seams, their corners, and its orientation."""

from __future__ import annotations

import pytest
import torch
from support.surfaces import area_and_volume, assert_manifold, edge_lengths
from torch import Tensor

from diffrender.geometry.primitives import plane
from diffrender.geometry.remesh.remesh import RemeshOptions, remesh

# Error of a linear function of the position after some tens of float64 operations.
EXACT = 1e-9


def grid_with_texture(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a square whose left and right half have separate textures: the middle line is a seam."""
    vertices, faces = plane(2.0, 2.0, 2 * n, 2 * n)
    vertices = vertices.double()
    uv = 0.2 * vertices[faces][..., [0, 2]]
    right = vertices[faces].mean(1)[:, 0] > 0
    return vertices, faces, torch.where(right[:, None, None], uv.flip(-1) + 0.6, uv)


@pytest.mark.parametrize("target", [0.08, 0.4])
def test_a_seam_of_the_texture_stays_a_seam(target: float) -> None:
    vertices, faces, uv = grid_with_texture(4)
    result = remesh(vertices, faces, target, corner_attributes=uv, passes=6)
    assert_manifold(result.faces, len(result.vertices))
    corners = result.vertices[result.faces]
    left, right = (corners[..., 0] <= 1e-12).all(1), (corners[..., 0] >= -1e-12).all(1)
    assert (left ^ right).all(), "a face is on both sides of the seam"
    plain = 0.2 * corners[..., [0, 2]]
    expected = torch.where(right[:, None, None], plain.flip(-1) + 0.6, plain)
    torch.testing.assert_close(result.corner_attributes, expected, rtol=0, atol=EXACT)
    on_seam = (result.vertices[:, 0].abs() < 1e-12).sum()
    assert 0.7 * 2 / target < on_seam - 1 < 1.4 * 2 / target


def texture_sides(corners: Tensor) -> Tensor:
    """Return the orientation [F] of each face in the texture: 1, -1, or 0."""
    a, b, c = corners.unbind(1)
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sign()


def pushed_about(place: Tensor, faces: Tensor, rng: torch.Generator) -> Tensor:
    """Move the points [V, 2] of a flat mesh one after the other, as far as no face inverts."""
    place = place.clone()
    spacing = edge_lengths(torch.nn.functional.pad(place, (0, 1)), faces).mean()
    for vertex in range(len(place)):
        around = faces[(faces == vertex).any(1)]
        side = texture_sides(place[around])
        for share in (1.5, 0.7, 0.3):
            moved = place.clone()
            moved[vertex] += share * spacing * (torch.rand(2, generator=rng).double() - 0.5)
            if torch.equal(texture_sides(moved[around]), side):
                place = moved
                break
    return place


@pytest.mark.parametrize("seed", range(6))
def test_faces_never_invert_in_the_texture(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    grid, faces = plane(2.0, 2.0, 9, 9)
    flat = grid[:, [0, 2]].double()
    # The mesh and its texture are distorted differently: an edit valid in one may be a fold in the other.
    vertices = torch.nn.functional.pad(pushed_about(flat, faces, rng), (0, 1))
    uv = pushed_about(flat, faces, rng)[faces]
    uv[faces.shape[0] // 2 :] += 10.0  # a seam
    side = texture_sides(uv)
    assert side.abs().min() == 1 and (side == side[0]).all()
    for target in (0.15, 0.25, 0.5):
        result = remesh(vertices, faces, target, corner_attributes=uv, passes=4)
        assert (texture_sides(result.corner_attributes) == side[0]).all()
        assert result.edits.refused_turn > 0


def test_a_corner_of_the_texture_stays_though_the_seam_is_straight_in_space() -> None:
    vertices, faces, uv = grid_with_texture(4)
    right = vertices[faces].mean(1)[:, 0] > 0
    uv[right] = vertices[faces][right][..., [0, 2]] + 5.0
    uv[right, :, 0] += uv[right, :, 1].sub(5.0).abs()  # along the seam (|z|, z): a right angle at z = 0
    result = remesh(vertices, faces, 0.6, corner_attributes=uv, passes=6)
    assert result.edits.collapses > 20
    at_corner = (result.vertices.abs() < 1e-12).all(1).nonzero()[:, 0]
    assert len(at_corner) == 1, "the corner has been collapsed or has moved"
    there = result.corner_attributes[result.faces == at_corner]
    assert {(round(u, 9), round(v, 9)) for u, v in there.tolist()} == {(0.0, 0.0), (5.0, 5.0)}


def test_a_thin_chart_does_not_vanish() -> None:
    # The triangle 4 5 6 is a chart of its own. Its side 4 6 is straight, 4 5 6 nearly so, and all are too short.
    place = [(-1.6, -1.6), (1.6, -1.6), (1.6, 1.6), (-1.6, 1.6), (-1, 0), (0, -0.15), (1, 0)]
    vertices = torch.nn.functional.pad(torch.tensor(place), (0, 1))
    faces = [[4, 5, 6], [0, 1, 5], [0, 5, 4], [1, 6, 5], [1, 2, 6], [4, 6, 3], [6, 2, 3], [4, 3, 0]]
    uv = vertices[torch.tensor(faces)][..., :2].clone()
    uv[0] += 100
    result = remesh(vertices, torch.tensor(faces), 3.0, corner_attributes=uv, options=RemeshOptions(relax=0))
    assert (result.corner_attributes > 50).all(2).all(1).any()
    assert area_and_volume(result.vertices, result.faces[(result.corner_attributes > 50).all(2).all(1)])[0] > 0.14
