"""Tangent frames, by hand on a square and on a torus with known directions."""

from __future__ import annotations

import math

import pytest
import torch
from support.shapes import square

from diffrender.geometry.normals import vertex_normals
from diffrender.geometry.tangents import corner_groups, group_tangents, uv_handedness

F64 = torch.float64


def tangents_of(vertices, faces, uvs, uv_faces):
    group, vertex, handedness = corner_groups(faces, uvs, uv_faces)
    normals = vertex_normals(vertices, faces)
    return group, vertex, handedness, group_tangents(vertices, faces, normals, uvs, uv_faces, group, len(vertex))


@pytest.mark.parametrize("turn_deg", [0, 35, 90, 200])
@pytest.mark.parametrize("mirrored", [False, True])
def test_tangents_of_a_square_point_where_u_grows(turn_deg, mirrored):
    mesh = square(F64)
    angle = math.radians(turn_deg)
    # In the image, with v down: rotate the texture by `angle`, and stretch it.
    along = torch.tensor([math.cos(angle), math.sin(angle)], dtype=F64)
    up = torch.tensor([-math.sin(angle), math.cos(angle)], dtype=F64)
    place = mesh.vertices[:, :2]
    u, rises = place @ along * 3, place @ up * 2
    uvs = torch.stack([-u if mirrored else u, 1 - rises], 1)
    group, vertex, handedness, tangents = tangents_of(mesh.vertices, mesh.faces, uvs, mesh.faces)
    expected = torch.cat([-along if mirrored else along, torch.zeros(1, dtype=F64)])
    torch.testing.assert_close(tangents, expected.expand(4, 3))
    assert (handedness == (-1 if mirrored else 1)).all() and torch.equal(vertex[group], mesh.faces)
    bitangent = torch.linalg.cross(torch.tensor([0.0, 0, 1], dtype=F64), tangents[0]) * handedness[0]
    torch.testing.assert_close(bitangent[:2], up)  # up in the image, whichever way u runs


def textured_torus(n=24, m=16):
    """Return a torus of n x m quads with u along the ring and v against the tube; the uv have a seam."""
    i, j = torch.meshgrid(torch.arange(n), torch.arange(m), indexing="ij")
    a, b = 2 * math.pi * i.double() / n, 2 * math.pi * j.double() / m
    ring = 1 + 0.4 * b.cos()
    vertices = torch.stack([ring * a.cos(), 0.4 * b.sin(), -ring * a.sin()], -1).reshape(-1, 3)
    grid_u, grid_v = torch.meshgrid(torch.arange(n + 1), torch.arange(m + 1), indexing="ij")
    uvs = torch.stack([grid_u / n, 1 - grid_v / m], -1).reshape(-1, 2).double()
    faces, uv_faces = [], []
    for x in range(n):
        for y in range(m):
            corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
            for three in ((0, 1, 2), (0, 2, 3)):
                faces.append([(corners[k][0] % n) * m + corners[k][1] % m for k in three])
                uv_faces.append([corners[k][0] * (m + 1) + corners[k][1] for k in three])
    return vertices, torch.tensor(faces), uvs, torch.tensor(uv_faces), a.reshape(-1)


def test_tangents_of_a_torus_run_along_the_ring_across_the_seam_too():
    vertices, faces, uvs, uv_faces, around = textured_torus()
    _, vertex, handedness, tangents = tangents_of(vertices, faces, uvs, uv_faces)
    assert (handedness == 1).all() and len(vertex) == len(uvs)
    expected = torch.stack([-around.sin(), torch.zeros_like(around), -around.cos()], 1)[vertex]
    # On the seam each side has its own tangent, from the faces of that side alone.
    assert float((tangents * expected).sum(1).min()) > math.cos(1.01 * math.pi / 24)
    normals = vertex_normals(vertices, faces)[vertex]
    assert float((tangents * normals).sum(1).abs().max()) < 1e-12


def test_mirrored_halves_do_not_share_tangents():
    vertices = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=F64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uvs = torch.tensor([[0, 0], [1, 0], [1, -1], [1, 0]], dtype=F64)  # the second triangle mirrors the first
    assert uv_handedness(uvs, faces).tolist() == [1, 0]
    group, vertex, handedness, tangents = tangents_of(vertices, faces, uvs, faces)
    assert len(vertex) == 6 and sorted(handedness.tolist()) == [-1, -1, -1, 1, 1, 1]
    torch.testing.assert_close(tangents[group[0]], torch.tensor([1.0, 0, 0], dtype=F64).expand(3, 3))
    torch.testing.assert_close(tangents[group[1]], torch.tensor([0, 1.0, 0], dtype=F64).expand(3, 3))


def test_gradients_match_finite_differences():
    vertices, faces, uvs, uv_faces, _ = textured_torus(5, 4)
    vertices = vertices + 0.05 * torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert torch.autograd.gradcheck(lambda v: tangents_of(v, faces, uvs, uv_faces)[3], vertices.requires_grad_())


def test_faces_without_area_in_the_texture_have_no_tangent():
    mesh = square(F64)
    uvs = torch.zeros(4, 2, dtype=F64)
    vertices = mesh.vertices.clone().requires_grad_()
    tangents = tangents_of(vertices, mesh.faces, uvs, mesh.faces)[3]
    assert not tangents.any()
    (gradient,) = torch.autograd.grad(tangents.sum(), vertices)
    assert gradient.isfinite().all()
