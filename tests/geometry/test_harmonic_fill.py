from __future__ import annotations

import torch

from diffrender.geometry.harmonic_fill import fill_harmonic
from diffrender.geometry.primitives import icosphere, plane


def test_values_between_two_sides_are_nearly_linear() -> None:
    vertices, faces = plane(1.0, 1.0, 8, 2)
    x = vertices[:, :1].double()
    ends = (x.abs() > 0.499)[:, 0]
    filled = fill_harmonic(torch.where(ends[:, None], 3 * x, torch.nan).nan_to_num(99.0), ends, faces)
    torch.testing.assert_close(filled[ends], 3 * x[ends])
    assert float((filled - 3 * x).abs().max()) < 0.25  # the diagonals make the neighbours slightly uneven
    assert filled.min() >= -1.5 and filled.max() <= 1.5


def test_every_unknown_vertex_is_the_mean_of_its_neighbours() -> None:
    vertices, faces = icosphere(2)
    known = torch.rand(len(vertices), generator=torch.Generator().manual_seed(0)) < 0.2
    values = torch.rand(len(vertices), 3, dtype=torch.float64)
    filled = fill_harmonic(values, known, faces)
    assert torch.equal(filled[known], values[known])
    ends = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])  # closed: each edge once per direction
    total = torch.zeros_like(filled).index_add(0, ends[:, 0], filled[ends[:, 1]])
    count = torch.zeros(len(filled), 1, dtype=torch.float64).index_add(0, ends[:, 0], torch.ones(len(ends), 1).double())
    torch.testing.assert_close((total / count)[~known], filled[~known], atol=1e-6, rtol=0)


def test_components_without_a_known_vertex_get_the_mean_and_without_any_nothing_changes() -> None:
    _, faces = icosphere(0)
    twice = torch.cat([faces, faces + 12])
    values = torch.cat([torch.arange(12.0)[:, None], torch.full((12, 1), 99.0)])
    known = torch.arange(24) < 12
    torch.testing.assert_close(fill_harmonic(values, known, twice)[12:], torch.full((12, 1), 5.5), atol=1e-4, rtol=0)
    assert fill_harmonic(values, torch.zeros(24, dtype=torch.bool), twice) is values
