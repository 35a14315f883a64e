from __future__ import annotations

import pytest
import torch

from diffrender.geometry.primitives import bumpy_sphere
from diffrender.geometry.seams import sample_seams, seam_edges
from diffrender.geometry.topology import Topology
from diffrender.geometry.unwrap import unwrap

# Two triangles that share the edge from vertex 0 to vertex 2, apart in the texture: the second is 0.5 further right.
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UVS = torch.tensor([[0.0, 0.0], [0.25, 0.0], [0.25, 0.5], [0.5, 0.0], [0.75, 0.5], [0.5, 0.5]])
APART = torch.tensor([[0, 1, 2], [3, 4, 5]])


def test_a_seam_by_hand() -> None:
    (edge,) = seam_edges(Topology(FACES), UVS, APART).tolist()
    first, second = [[0.0, 0.0], [0.25, 0.5]], [[0.5, 0.0], [0.75, 0.5]]
    assert edge in ([first, second], [second, first], [first[::-1], second[::-1]], [second[::-1], first[::-1]])


def test_faces_that_are_connected_or_alone_have_no_seam() -> None:
    together = torch.tensor([[0, 1, 2], [0, 2, 3]])
    assert len(seam_edges(Topology(FACES), UVS, together)) == 0
    # Equal coordinates at other rows of the table are not a seam either.
    doubled = torch.cat([UVS, UVS])
    assert len(seam_edges(Topology(FACES), doubled, together + torch.tensor([[0], [6]]))) == 0
    alone = Topology(FACES[:1])
    assert len(seam_edges(alone, UVS, APART[:1])) == 0
    assert sample_seams(alone, UVS, APART[:1], 8, 8).first.shape == (0, 2)


@pytest.mark.parametrize("turned", [False, True])
def test_neighbours_of_opposite_orientation_have_their_ends_in_the_same_order(turned: bool) -> None:
    faces, uv_faces = FACES.clone(), APART.clone()
    if turned:
        faces[1], uv_faces[1] = FACES[1].flip(0), APART[1].flip(0)
    samples = sample_seams(Topology(faces), UVS, uv_faces, 16, 16)
    offset = samples.second - samples.first
    torch.testing.assert_close(offset.abs(), torch.tensor([[0.5, 0.0]]).expand_as(offset))
    # 4 by 8 texels long: 9 samples, evenly spaced.
    assert len(offset) == 9
    torch.testing.assert_close(samples.first[:, 1].sort().values, (torch.arange(9) + 0.5) / 9 * 0.5)


def test_both_sides_are_the_same_point_of_the_surface() -> None:
    vertices, faces = bumpy_sphere(2)
    layout = unwrap(vertices, faces, 128)
    edges = seam_edges(Topology(faces), layout.uvs, layout.uv_faces)
    assert len(edges) > 20
    vertex_of = {tuple(uv): vertex for uv, vertex in _vertices_at(layout.uvs, layout.uv_faces, faces)}
    for first, second in edges.tolist():
        assert [vertex_of[tuple(end)] for end in first] == [vertex_of[tuple(end)] for end in second]


def _vertices_at(uvs: torch.Tensor, uv_faces: torch.Tensor, faces: torch.Tensor) -> list[tuple[list[float], int]]:
    return list(zip(uvs[uv_faces.reshape(-1)].tolist(), faces.reshape(-1).tolist(), strict=True))
