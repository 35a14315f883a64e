"""Pairs of faces of different parts that may intersect, and in which pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.intersections import intersections
from diffrender.ops.rasterize import rasterize
from diffrender.render.edge_models import meeting_pairs as chosen
from diffrender.render.edge_models.meeting_pairs import meeting_pairs, pixels_around

HEIGHT, WIDTH, VIEWS, NEAR = 5, 7, 2, 0.1


def soup(seed: int, perspective: bool) -> tuple[Tensor, Topology, Tensor]:
    """Parts of a few faces across the images of two views, some cut by the near plane; and some of the pixels."""
    generator = torch.Generator().manual_seed(seed)
    parts = int(torch.randint(1, 9, (1,), generator=generator))
    faces = torch.cat([torch.tensor([[0, 1, 2], [1, 2, 3]]) + 4 * part for part in range(parts)])
    middle = torch.rand(VIEWS, parts, 1, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    spread = torch.rand(1, parts, 1, 1, generator=generator) ** 2 * 8
    xy = (middle + spread * (torch.rand(VIEWS, parts, 4, 2, generator=generator) - 0.5)).reshape(VIEWS, -1, 2)
    depth = 1.05 + 2 * (torch.rand(VIEWS, 4 * parts, 1, generator=generator) - 0.5)
    w = depth if perspective else torch.ones_like(depth)
    count = int(torch.randint(0, VIEWS * HEIGHT * WIDTH, (1,), generator=generator))
    pixel = torch.randperm(VIEWS * HEIGHT * WIDTH, generator=generator)[:count].sort().values
    return torch.cat([xy * w, w, depth], 2), Topology(faces), pixel


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("shows_backs", [True, False])
def test_no_line_of_intersection_is_missed(
    seed: int, perspective: bool, shows_backs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "CHUNK", 7)
    verts, topology, pixel = soup(seed, perspective)
    # Samples see two parts, one, or nothing.
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randint(-1, len(topology.faces), (len(pixel), 3), generator=generator)
    part = topology.face_component[samples.clamp_min(0)]
    mixed = torch.tensor([len({p for p, f in zip(*row, strict=True) if f >= 0}) > 1
                          for row in zip(part.tolist(), samples.tolist(), strict=True)], dtype=torch.bool)  # fmt: skip
    raster = rasterize(verts, topology.faces, HEIGHT, WIDTH, near=NEAR)
    bins, borders = raster.bins, torch.randint(0, VIEWS * HEIGHT * WIDTH, (3,), generator=generator)
    some = list(meeting_pairs(verts, topology, raster, pixel, samples, borders, shows_backs))
    at, pair = (torch.cat(parts) for parts in zip(*some, strict=True))
    found = sorted(zip(at.tolist(), *pair.T.tolist(), strict=True))
    assert len(found) == len(set(found)) and at.tolist() == sorted(at.tolist())
    assert bool((topology.face_component[pair[:, 0]] != topology.face_component[pair[:, 1]]).all())

    # All pairs of faces of different parts that are drawn, in all pixels around mixed ones and on borders.
    around = torch.cat([pixels_around(pixel[mixed], (HEIGHT, WIDTH)), borders]).unique()
    every = torch.combinations(torch.arange(len(topology.faces)))
    every = every[topology.face_component[every[:, 0]] != topology.face_component[every[:, 1]]]
    all_at, all_pairs = around.repeat_interleave(len(every)), every.repeat(len(around), 1)
    is_drawn = (bins.bounds[..., 2] >= bins.bounds[..., 0]) & (shows_backs | (bins.facing > 0))
    drawn = is_drawn[(all_at // (HEIGHT * WIDTH))[:, None], all_pairs].all(1)
    lines, expected = (
        intersections(verts, topology.faces, *pairs, HEIGHT, WIDTH)
        for pairs in ((at, pair), (all_at[drawn], all_pairs[drawn]))
    )
    drawn_before = expected.depth > NEAR  # what is nearer is never seen
    want = {
        (p, *f, *xy)
        for p, f, xy in zip(
            *(getattr(expected, name)[drawn_before].tolist() for name in ("pixel", "face", "xy_px")), strict=True
        )
    }
    have = {
        (p, *f, *xy)
        for p, f, xy in zip(*(getattr(lines, name).tolist() for name in ("pixel", "face", "xy_px")), strict=True)
    }
    assert want <= have


@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
def test_pixels_around_are_inside_of_their_own_view(size: tuple[int, int]) -> None:
    height, width = size
    for pixel in range(2 * height * width):
        view, y, x = pixel // (height * width), pixel // width % height, pixel % width
        expected = [
            (view * height + i) * width + j
            for i in range(max(0, y - 1), min(height, y + 2))
            for j in range(max(0, x - 1), min(width, x + 2))
        ]
        assert pixels_around(torch.tensor([pixel]), size).tolist() == expected


def test_what_is_far_apart_in_depth_is_no_pair() -> None:
    square = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    verts = torch.cat([torch.cat([square * z, torch.full((3, 2), z)], 1) for z in (1.0, 2.0)])[None]
    topology = Topology(torch.tensor([[0, 1, 2], [3, 4, 5]]))
    raster = rasterize(verts, topology.faces, HEIGHT, WIDTH, near=NEAR)
    some = meeting_pairs(
        verts, topology, raster, torch.tensor([3]), torch.tensor([[0, 1]]), torch.tensor([], dtype=torch.int64), True
    )
    assert all(len(at) == 0 for at, _ in some)
