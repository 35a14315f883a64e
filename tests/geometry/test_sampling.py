from __future__ import annotations

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import Triangles, icosphere, plane
from diffrender.geometry.sampling import sample_surface


def areas(surface: Triangles) -> torch.Tensor:
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1) / 2


def uneven() -> Triangles:
    """Return an elongated sphere whose faces differ in area, with a degenerate face first and last."""
    sphere = icosphere(2)
    line = torch.tensor([[0, 1, 1]])
    return Triangles(sphere.vertices * torch.tensor([5.0, 1.0, 0.3]), torch.cat([line, sphere.faces, line]))


def test_every_face_gets_its_share_to_within_a_point() -> None:
    surface = uneven()
    samples = sample_surface(surface, 5000, seed=3)
    found = torch.bincount(samples.face, minlength=len(surface.faces))
    share = areas(surface) / areas(surface).sum() * 5000
    # The strata that begin or end inside a face may have their points there or in a neighbouring face.
    assert bool(((found - share).abs() < 2).all())
    assert found[0] == found[-1] == 0


def test_points_are_inside_their_faces() -> None:
    surface = uneven()
    samples = sample_surface(surface, 2000)
    corners = surface.vertices.double()[surface.faces[samples.face]]
    parts = torch.stack([torch.linalg.cross(p - samples.points, q - samples.points).norm(dim=1) / 2
                         for p, q in ((corners[:, 0], corners[:, 1]), (corners[:, 1], corners[:, 2]),
                                      (corners[:, 2], corners[:, 0]))])  # fmt: skip
    assert torch.allclose(parts.sum(0), areas(surface)[samples.face], rtol=1e-6)


def test_points_are_uniform_inside_a_face() -> None:
    """Each half of a triangle, on either side of any median, contains half of the points."""
    corners = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [1.0, 3.0, 0.0]])
    samples = sample_surface(Triangles(corners, torch.tensor([[0, 1, 2]])), 20_000, seed=1)
    assert torch.allclose(samples.points.mean(0), corners.double().mean(0), atol=0.02)
    for k in range(3):
        origin, middle = corners[k].double(), corners[[k - 1, k - 2]].double().mean(0)
        along, away = middle - origin, samples.points - origin
        left = (along[0] * away[:, 1] - along[1] * away[:, 0] > 0).double().mean()
        assert abs(float(left) - 0.5) < 0.015


def test_the_seed_decides() -> None:
    surface = plane(2, 2, 3, 3)
    one, same, other = (sample_surface(surface, 50, seed) for seed in (1, 1, 2))
    assert torch.equal(one.points, same.points) and torch.equal(one.face, same.face)
    assert not torch.equal(one.points, other.points)
    assert sample_surface(surface, 0).points.shape == (0, 3)


def test_what_cannot_be_sampled_is_refused() -> None:
    flat = Triangles(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ShapeError, match="none of the 1 triangles has an area"):
        sample_surface(flat, 5)
    with pytest.raises(ShapeError, match="n_points must be at least 0, got -1"):
        sample_surface(plane(), -1)
