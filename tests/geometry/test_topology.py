from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from diffrender.geometry.primitives import box, icosphere, plane, torus
from diffrender.geometry.topology import Topology

# Two triangles that share the edge (1, 2):   0 - 1
#                                             | / |
#                                             2 - 3
PAIR = torch.tensor([[0, 2, 1], [1, 2, 3]])


def random_faces(n_faces: int, n_vertices: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n_vertices, (n_faces, 3), generator=generator)


def half_edges(faces: Tensor) -> list[tuple[int, int]]:
    """Start and end of the half-edge of each corner 3 f + c."""
    return [(face[c], face[(c + 1) % 3]) for face in faces.tolist() for c in range(3)]


def test_worked_example() -> None:
    topology = Topology(PAIR)
    assert topology.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    corner, offset = topology.edge_corners
    assert offset.tolist() == [0, 1, 2, 4, 5, 6]
    # Corner 2 is (1 -> 0), 0 is (0 -> 2), 1 is (2 -> 1), 3 is (1 -> 2), 5 is (3 -> 1), 4 is (2 -> 3).
    assert corner.tolist() == [2, 0, 1, 3, 5, 4]
    assert topology.edge_pairs.tolist() == [[0, 1]]
    assert not topology.is_closed


@pytest.mark.parametrize("seed", range(5))
def test_edges_and_corners_are_those_of_the_faces(seed: int) -> None:
    faces = random_faces(40, 12, seed)  # with repeated corners and edges of many faces
    topology = Topology(faces)
    counts = Counter((min(a, b), max(a, b)) for a, b in half_edges(faces))
    assert [tuple(edge) for edge in topology.edges.tolist()] == sorted(counts)
    corner, offset = topology.edge_corners
    assert sorted(corner.tolist()) == list(range(120))
    assert offset[0] == 0 and offset[-1] == 120 and len(offset) == len(topology.edges) + 1
    for e, edge in enumerate(topology.edges.tolist()):
        listed = corner[offset[e] : offset[e + 1]].tolist()
        assert listed == sorted(listed) and len(listed) == counts[tuple(edge)]
        assert all(sorted(half_edges(faces)[c]) == edge for c in listed)


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_the_faces_beside_edges_of_two(seed: int) -> None:
    faces = random_faces(40, 12, seed)
    beside: dict[tuple[int, int], list[int]] = {}
    for c, (a, b) in enumerate(half_edges(faces)):
        beside.setdefault((min(a, b), max(a, b)), []).append(c // 3)
    expected = [beside[edge] for edge in sorted(beside) if len(beside[edge]) == 2]
    assert Topology(faces).edge_pairs.tolist() == expected


@pytest.mark.parametrize(("shape", "euler"), [(icosphere(2), 2), (box((1, 2, 3)), 2), (torus(1.0, 0.3, 12, 8), 0)])
def test_closed_shapes(shape: tuple[Tensor, Tensor], euler: int) -> None:
    vertices, faces = shape
    topology = Topology(faces)
    assert topology.is_closed
    assert len(vertices) - len(topology.edges) + len(faces) == euler
    assert len(topology.edge_pairs) == len(topology.edges) == 3 * len(faces) // 2


def test_what_is_not_closed() -> None:
    _, sphere = icosphere(1)
    turned = sphere.clone()
    turned[3] = turned[3].flip(0)
    lone_vertex_pair = torch.tensor([[0, 1, 1], [1, 0, 0]])
    for faces in (
        plane(1.0, 1.0, 3, 3)[1],
        sphere[1:],
        turned,
        torch.cat([sphere, sphere]),
        sphere[:0],
        lone_vertex_pair,
    ):
        assert not Topology(faces).is_closed
    assert Topology(torch.cat([sphere, sphere + 100])).is_closed


def test_no_faces() -> None:
    topology = Topology(torch.zeros(0, 3, dtype=torch.int64))
    assert topology.edges.shape == (0, 2) and topology.edge_pairs.shape == (0, 2)
    assert topology.edge_corners.corner.shape == (0,) and topology.edge_corners.offset.tolist() == [0]


def test_indices_far_apart_and_memory_that_is_not_contiguous() -> None:
    far = PAIR * 1_000_000_000
    assert torch.equal(Topology(far).edges, Topology(PAIR).edges * 1_000_000_000)
    wide = torch.stack([PAIR, PAIR], -1)[..., 0]
    assert torch.equal(Topology(wide).edges, Topology(PAIR).edges)
    assert torch.equal(Topology(wide).edge_corners.corner, Topology(PAIR).edge_corners.corner)


def test_each_part_is_computed_once() -> None:
    topology = Topology(PAIR)
    assert topology.faces is PAIR
    assert topology.edges is topology.edges
    assert topology.edge_corners is topology.edge_corners
    assert topology.edge_pairs is topology.edge_pairs
