from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.surfaces import area_and_volume, assert_closed_manifold

from diffrender.errors import ShapeError
from diffrender.geometry.isosurface import Lattice, isosurface
from diffrender.geometry.topology import Topology

LOW, HIGH = torch.full((3,), -1.2), torch.full((3,), 1.2)


def euler(vertices: torch.Tensor, faces: torch.Tensor) -> int:
    return len(vertices) - len(Topology(faces).edges) + len(faces)


def torus(points: torch.Tensor) -> torch.Tensor:
    ring = points[:, [0, 2]].norm(dim=1) - 0.7
    return (ring.square() + points[:, 1].square()).sqrt() - 0.3


def test_a_sphere_has_its_radius_its_volume_and_faces_outwards() -> None:
    vertices, faces = isosurface(lambda points: points.norm(dim=1) - 1, Lattice.around(LOW, HIGH, 0.1))
    assert vertices.norm(dim=1) == pytest.approx(torch.ones(len(vertices)), abs=0.01)
    assert area_and_volume(vertices, faces)[1] == pytest.approx(4 / 3 * math.pi, rel=0.01)
    assert_closed_manifold(faces, len(vertices))
    assert euler(vertices, faces) == 2


def test_a_torus_keeps_its_hole() -> None:
    vertices, faces = isosurface(torus, Lattice.around(LOW, HIGH, 0.1))
    assert_closed_manifold(faces, len(vertices))
    assert euler(vertices, faces) == 0
    assert area_and_volume(vertices, faces)[1] == pytest.approx(2 * math.pi**2 * 0.7 * 0.09, rel=0.02)


def test_the_error_falls_with_the_square_of_the_cell() -> None:
    errors = []
    for cell in (0.2, 0.1):
        vertices, _ = isosurface(torus, Lattice.around(LOW, HIGH, cell))
        errors.append(float(torus(vertices).abs().mean()))
    assert errors[1] < errors[0] / 2.5


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), offset=st.floats(-1, 1))
def test_any_function_gives_a_closed_manifold(seed: int, offset: float) -> None:
    """Noise unrelated to distance, which jumps from point to point and contains exact zeros."""
    generator = torch.Generator().manual_seed(seed)

    def noise(points: torch.Tensor) -> torch.Tensor:
        values = torch.randn(len(points), generator=generator) + offset
        return values.where(values.abs() > 0.1, 0.0)

    vertices, faces = isosurface(noise, Lattice.around(torch.zeros(3), torch.ones(3), 0.25))
    if len(faces):
        assert_closed_manifold(faces, len(vertices))
    assert torch.isfinite(vertices).all()


def test_the_surface_is_closed_at_the_border_of_the_lattice() -> None:
    vertices, faces = isosurface(lambda points: points[:, 0] - 0.05, Lattice.around(LOW, HIGH, 0.2))
    assert_closed_manifold(faces, len(vertices))
    assert euler(vertices, faces) == 2
    assert float(vertices[:, 0].max()) == pytest.approx(0.05, abs=1e-5)
    assert float(vertices.abs().max()) < 1.2 + 0.2


def test_blur_removes_parts_thinner_than_a_cell_and_little_else() -> None:
    def ball_and_hair(points: torch.Tensor) -> torch.Tensor:
        hair = points[:, 1:].norm(dim=1) - 0.04
        return torch.minimum(points.norm(dim=1) - 0.8, torch.maximum(hair, points[:, 0].abs() - 1.1))

    lattice = Lattice.around(LOW, HIGH, 0.1)
    sharp, blurred = isosurface(ball_and_hair, lattice), isosurface(ball_and_hair, lattice, 1.0)
    assert float(sharp.vertices[:, 0].max()) > 1
    assert blurred.vertices.norm(dim=1) == pytest.approx(0.8 * torch.ones(len(blurred.vertices)), abs=0.07)
    assert_closed_manifold(blurred.faces, len(blurred.vertices))


def test_nothing_inside_gives_no_faces() -> None:
    vertices, faces = isosurface(lambda points: points.norm(dim=1) + 1, Lattice.around(LOW, HIGH, 0.2))
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)


def test_few_points_are_evaluated_far_from_the_surface() -> None:
    asked = []

    def sphere(points: torch.Tensor) -> torch.Tensor:
        asked.append(len(points))
        return points.norm(dim=1) - 1

    lattice = Lattice.around(LOW, HIGH, 0.03)
    isosurface(sphere, lattice)
    assert sum(asked) < 0.5 * 2 * math.prod(lattice.shape)


def test_a_lattice_that_is_too_small_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least 3 cells"):
        isosurface(lambda points: points[:, 0], Lattice((0.0, 0.0, 0.0), 1.0, (2, 3, 3)))
