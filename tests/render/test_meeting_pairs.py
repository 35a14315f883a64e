"""Pairs of faces of different parts that may intersect, and in which pixels."""

from __future__ import annotations

import itertools

import pytest
import torch

from diffrender.geometry.topology import Topology
from diffrender.render.edge_models.antialias import meeting_pairs

HEIGHT, WIDTH, VIEWS = 5, 7, 2


def expected(pixel, sample_face_id, topology):
    """Compute the same with sets, directly from the definition."""
    part = topology.face_component.tolist()
    found = set()
    for at, row in zip(pixel.tolist(), sample_face_id.tolist(), strict=True):
        view, y, x = at // (HEIGHT * WIDTH), at // WIDTH % HEIGHT, at % WIDTH
        for one, other in itertools.combinations(sorted({face for face in row if face >= 0}), 2):
            if part[one] == part[other]:
                continue
            for i, j in itertools.product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                if 0 <= i < HEIGHT and 0 <= j < WIDTH:
                    found.add(((view * HEIGHT + i) * WIDTH + j, one, other))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_pairs_of_different_parts_in_a_pixel_and_in_those_around(seed):
    generator = torch.Generator().manual_seed(seed)
    n_parts = int(torch.randint(1, 5, (1,), generator=generator))
    topology = Topology(torch.cat([torch.tensor([[0, 1, 2], [1, 2, 3]]) + 4 * part for part in range(n_parts)]))
    count = int(torch.randint(0, VIEWS * HEIGHT * WIDTH, (1,), generator=generator))
    pixel = torch.randperm(VIEWS * HEIGHT * WIDTH, generator=generator)[:count].sort().values
    samples = int(torch.randint(1, 10, (1,), generator=generator))
    sample_face_id = torch.randint(-1, 2 * n_parts, (count, samples), generator=generator)
    sample_face_id = torch.where(torch.rand(count, 1, generator=generator) < 0.7, sample_face_id[:, :1], sample_face_id)
    at, pair = meeting_pairs(pixel, sample_face_id, topology, HEIGHT, WIDTH)
    found = list(zip(at.tolist(), *pair.T.tolist(), strict=True))
    assert found == sorted(set(found))
    assert set(found) == expected(pixel, sample_face_id, topology)
