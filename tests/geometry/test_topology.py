from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrender.geometry import topology as topology_module
from diffrender.geometry.coincidence import all_coincide
from diffrender.geometry.primitives import box, icosphere, plane, torus
from diffrender.geometry.topology import Topology, join_topologies

# Two triangles that share the edge (1, 2):   0 - 1
#                                             | / |
#                                             2 - 3
PAIR = torch.tensor([[0, 2, 1], [1, 2, 3]])


def random_faces(n_faces: int, n_vertices: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n_vertices, (n_faces, 3), generator=generator)


def half_edges(faces: Tensor) -> list[tuple[int, int]]:
    """Return the start and end of the half-edge of each corner 3 f + c; loops where a corner is repeated."""
    whole = [face if len(set(face)) == 3 else face[:1] * 3 for face in faces.tolist()]
    return [(face[c], face[(c + 1) % 3]) for face in whole for c in range(3)]


def test_worked_example() -> None:
    topology = Topology(PAIR)
    assert topology.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    corner, offset = topology.edge_corners
    assert offset.tolist() == [0, 1, 2, 4, 5, 6]
    # Corner 2 is (1 -> 0), 0 is (0 -> 2), 1 is (2 -> 1), 3 is (1 -> 2), 5 is (3 -> 1), 4 is (2 -> 3).
    assert corner.tolist() == [2, 0, 1, 3, 5, 4]
    assert topology.edge_pairs.tolist() == [[0, 1]]
    # Face 1 runs along (1, 2) forwards, face 0 backwards.
    assert topology.edge_sides.tolist() == [[-1, -1], [0, 0], [-1, 1], [-2, -2], [1, 1]]
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
def test_pairs_are_the_faces_of_edges_with_two(seed: int) -> None:
    faces = random_faces(40, 12, seed)
    faces_at: dict[tuple[int, int], list[int]] = {}
    for c, (a, b) in enumerate(half_edges(faces)):
        faces_at.setdefault((min(a, b), max(a, b)), []).append(c // 3)
    expected = [faces_at[edge] for edge in sorted(faces_at) if len(faces_at[edge]) == 2]
    assert Topology(faces).edge_pairs.tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_sides_are_the_two_faces_of_an_edge_and_how_they_run(seed: int) -> None:
    faces = random_faces(40, 12, seed)
    along: dict[tuple[int, int], list[int]] = {}
    for c, (a, b) in enumerate(half_edges(faces)):
        along.setdefault((min(a, b), max(a, b)), []).append(c // 3 if a <= b else -1 - c // 3)
    expected = [along[edge] if len(along[edge]) == 2 else along[edge][:1] * 2 for edge in sorted(along)]
    assert Topology(faces).edge_sides.tolist() == expected


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


def parts_by_hand(faces: Tensor) -> list[set[int]]:
    """Return the faces of each component, by growing sets of vertices until nothing changes."""
    parts: list[tuple[set[int], set[int]]] = []
    for f, face in enumerate(faces.tolist()):
        touching = [part for part in parts if part[0] & set(face)]
        parts = [part for part in parts if not part[0] & set(face)]
        parts.append((set(face).union(*(part[0] for part in touching)), {f}.union(*(part[1] for part in touching))))
    return sorted((part[1] for part in parts), key=min)


def test_components_by_hand() -> None:
    # Two triangles with a common edge, one that only shares a vertex with them, and one apart; vertex 9 has no face.
    topology = Topology(torch.tensor([[0, 2, 1], [6, 7, 8], [1, 2, 3], [3, 4, 5]]))
    component = topology.face_component
    assert topology.n_components == 2 and component.dtype == torch.int64
    assert component[0] == component[2] == component[3] != component[1]
    assert sorted(component.unique().tolist()) == [0, 1]


@pytest.mark.parametrize("n_vertices", [40, 90, 300])
@pytest.mark.parametrize("seed", range(3))
def test_components_match_brute_force(n_vertices: int, seed: int) -> None:
    faces = random_faces(40, n_vertices, seed)
    topology = Topology(faces)
    component = topology.face_component
    found = [set(torch.nonzero(component == c)[:, 0].tolist()) for c in component.unique().tolist()]
    assert sorted(found, key=min) == parts_by_hand(faces)
    assert topology.n_components == len(found)
    # Numbers are 0, 1, ... without gaps, although some vertices have no face.
    assert component.shape == (40,) and component.min() >= 0 and component.max() < topology.n_components


def test_unused_vertices_are_not_components() -> None:
    for faces in (PAIR + 50, torch.tensor([[3, 3, 3]]), PAIR * 1000):
        topology = Topology(faces)
        assert topology.n_components == 1 and not bool(topology.face_component.any())


@pytest.mark.parametrize("warm", [False, True])
def test_joined_topologies_are_those_of_the_joined_faces(warm: bool) -> None:
    sizes = [12, 7, 20, 5]  # more vertices than the faces use, with a gap in the last
    faces = [random_faces(30, 12, 0), PAIR, random_faces(8, 17, 1), torch.zeros(0, 3, dtype=torch.int64)]
    parts = [Topology(part) for part in faces]
    if warm:
        for part in parts:
            _ = part.edges, part.face_component, part.edge_pairs, part.is_closed
    joined = join_topologies(parts, sizes)
    starts = [0, 12, 19, 39]
    expected = Topology(torch.cat([part + start for part, start in zip(faces, starts, strict=True)]))
    assert torch.equal(joined.faces, expected.faces)
    assert torch.equal(joined.edges, expected.edges)
    assert torch.equal(joined.edge_corners.corner, expected.edge_corners.corner)
    assert torch.equal(joined.edge_corners.offset, expected.edge_corners.offset)
    assert torch.equal(joined.edge_pairs, expected.edge_pairs)
    assert torch.equal(joined.edge_sides, expected.edge_sides)
    assert joined.n_components == expected.n_components == sum(part.n_components for part in parts)
    same = joined.face_component[:, None] == joined.face_component
    assert torch.equal(same, expected.face_component[:, None] == expected.face_component)
    assert not joined.is_closed


def test_joined_closed_meshes_are_closed_components() -> None:
    sphere, ring = icosphere(1), torus(1.0, 0.3, 6, 5)
    parts = [Topology(sphere[1]), Topology(ring[1]), Topology(sphere[1])]
    joined = join_topologies(parts, [len(sphere[0]), len(ring[0]), len(sphere[0])])
    assert joined.is_closed and joined.n_components == 3
    counts = joined.face_component.unique_consecutive(return_counts=True)[1].tolist()
    assert counts == [len(sphere[1]), len(ring[1]), len(sphere[1])]


def test_no_faces() -> None:
    topology = Topology(torch.zeros(0, 3, dtype=torch.int64))
    assert topology.edges.shape == (0, 2) and topology.edge_pairs.shape == (0, 2)
    assert topology.edge_corners.corner.shape == (0,) and topology.edge_corners.offset.tolist() == [0]
    assert topology.face_component.shape == (0,) and topology.n_components == 0


def test_indices_far_apart_and_memory_that_is_not_contiguous() -> None:
    far = PAIR * 1_000_000_000
    assert torch.equal(Topology(far).edges, Topology(PAIR).edges * 1_000_000_000)
    wide = torch.stack([PAIR, PAIR], -1)[..., 0]
    assert torch.equal(Topology(wide).edges, Topology(PAIR).edges)
    assert torch.equal(Topology(wide).edge_corners.corner, Topology(PAIR).edge_corners.corner)


def test_each_property_is_computed_once() -> None:
    topology = Topology(PAIR)
    assert topology.faces is PAIR
    assert topology.edges is topology.edges
    assert topology.edge_corners is topology.edge_corners
    assert topology.edge_pairs is topology.edge_pairs
    assert topology.face_component is topology.face_component


def test_a_topology_of_the_same_faces_knows_what_is_known_and_finds_the_rest_anew() -> None:
    vertices, faces = icosphere(1)
    first = Topology.of(faces)
    assert first.is_closed and first.weld(vertices).is_outward(vertices)
    sides = first.edge_sides
    again = Topology.of(faces)
    assert again is not first and again.edges is first.edges and again.edge_sides is sides
    mirrored = vertices * torch.tensor([-1.0, 1.0, 1.0])
    assert again.weld(mirrored) is again and not again.is_outward(mirrored)
    assert Topology.of(faces.clone()).edges is not first.edges
    changed = faces.clone()
    before = Topology.of(changed).edges
    changed[0] = torch.tensor([0, 20, 41])
    assert not torch.equal(Topology.of(changed).edges, before)


def test_unshared_vertices_are_welded_anew_as_they_coincide_now() -> None:
    shared, faces = icosphere(1)
    vertices, own = shared[faces.reshape(-1)], torch.arange(faces.numel()).reshape(-1, 3)
    first = Topology.of(own).weld(vertices)
    assert first.is_closed and first.is_outward(vertices)
    again = Topology.of(own).weld(2 * vertices)
    assert again.edges is first.edges and again.is_outward(2 * vertices)
    mirrored = vertices * torch.tensor([1.0, 1.0, -1.0])
    assert not Topology.of(own).weld(mirrored).is_outward(mirrored)
    torn = vertices + torch.tensor([0.1, 0.0, 0.0]) * (torch.arange(len(vertices)) < 3)[:, None]
    apart = Topology.of(own).weld(torn)
    assert apart.n_components == 2
    # The other way round: what coincides now, and did not before.
    joined = Topology.of(own).weld(vertices)
    assert joined.is_closed and joined.n_components == 1


def test_few_topologies_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_module, "MOST_RECENT_FACES", 200)
    recent: list[Any] = []
    monkeypatch.setattr(topology_module, "_recent", recent)
    several = [icosphere(1)[1] for _ in range(4)]  # of 80 faces
    for faces in several:
        Topology.of(faces)
    assert [id(known.faces) for known in recent] == [id(faces) for faces in several[2:]]
    Topology.of(icosphere(2)[1])  # of 320
    assert len(recent) == 1
    for _ in range(40):
        Topology.of(torch.zeros(0, 3, dtype=torch.int64))
    assert len(recent) == topology_module.MOST_RECENT


def test_building_meshes_again_and_again_keeps_nothing_more() -> None:
    vertices, faces = icosphere(1)
    born: list[weakref.ref[Topology]] = []
    for step in range(20):
        topology = Topology.of(faces)
        born.append(weakref.ref(topology))
        topology.weld(vertices * (1 + step)).seams(faces.clone())
        assert len(topology._seams) == 1
    del topology
    gc.collect()
    assert sum(reference() is not None for reference in born) == 1
    kept = Topology.of(faces)
    for _ in range(20):
        kept.seams(faces.clone())
    assert len(kept._seams) == topology_module.MOST_SEAMS


def test_faces_that_change_without_a_trace_are_noticed() -> None:
    array = icosphere(1)[1].numpy().copy()
    faces = torch.from_numpy(array)
    before = Topology.of(faces).edges
    array[0] = [0, 20, 41]
    assert not torch.equal(Topology.of(faces).edges, before)


def test_what_inference_mode_computes_does_not_leave_it() -> None:
    faces = icosphere(1)[1]
    with torch.inference_mode():
        assert Topology.of(faces).edges.is_inference()
    assert not Topology.of(faces).edges.is_inference()


def test_threads_may_build_topologies_at_once() -> None:
    several = [icosphere(1)[1] for _ in range(30)]
    found: list[bool] = []

    def build() -> None:
        for _ in range(20):
            found.extend(Topology.of(faces).faces is faces for faces in several)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * 20 * 30 and all(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_of_the_other() -> None:
    with topology_module._lock:  # as of another thread that builds a topology
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            Topology.of(PAIR)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("n_pairs", [0, 3, 70_000])
def test_points_coincide_until_one_parts(n_pairs: int) -> None:
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0))
    first = torch.randint(0, 100, (n_pairs,), generator=torch.Generator().manual_seed(1))
    both = torch.cat([points, points])
    assert all_coincide(both, first, first + 100)
    if n_pairs:
        both[100 + first[-1], 2] += 1e-6
        assert not all_coincide(both, first, first + 100)
        both[100 + first[-1]] = both[first[-1]] = float("nan")
        assert not all_coincide(both, first, first + 100)
