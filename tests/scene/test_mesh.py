import dataclasses

import pytest
import torch
from support.shapes import bumpy, empty, square, triangle, wavy_sheet

from diffrender.errors import ShapeError
from diffrender.scene.mesh import Mesh

FACES = torch.tensor([[0, 1, 2]])


def test_counts_and_bounds():
    mesh = square(side=2.0, z=0.5)
    assert (mesh.n_vertices, mesh.n_faces) == (4, 2)
    assert mesh.bounds().tolist() == [[-1.0, -1.0, 0.5], [1.0, 1.0, 0.5]]


def test_moving_the_vertices_keeps_the_topology_and_the_texture_coordinates():
    mesh = square()
    edges = mesh.topology.edges
    moved = mesh.with_vertices(2 * mesh.vertices)
    assert moved.topology is mesh.topology and moved.topology.edges is edges
    assert moved.uvs is mesh.uvs and moved.uv_faces is mesh.uv_faces and torch.equal(moved.vertices, 2 * mesh.vertices)


def test_moving_keeps_the_number_of_vertices():
    """Kernels trust the indices: with fewer vertices they would read out of bounds."""
    for n_vertices in (3, 5):
        with pytest.raises(ShapeError, match=r"with_vertices: vertices must have shape \[4, 3\]"):
            square().with_vertices(torch.zeros(n_vertices, 3))


def test_other_faces_get_their_own_topology():
    mesh = square()
    cut = dataclasses.replace(mesh, faces=mesh.faces[:1], uv_faces=mesh.faces[:1])
    assert len(cut.topology.edges) == 3 and len(mesh.topology.edges) == 5


def test_closed_and_open():
    assert bumpy(1).topology.is_closed
    assert not wavy_sheet(3).topology.is_closed and not triangle().topology.is_closed


def test_check_accepts_good_meshes_and_names_what_is_wrong():
    mesh = bumpy(1)
    assert mesh.check() is mesh
    with pytest.raises(ShapeError, match="reader: the mesh has no faces"):
        empty().check("reader")
    broken = mesh.vertices.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(ShapeError, match=r"vertices must be finite, got nan at index \[3, 1\]"):
        mesh.with_vertices(broken).check()


def test_errors():
    points = torch.zeros(3, 3)
    with pytest.raises(ShapeError, match=r"vertices must have shape \[V, 3\], got \[3, 2\]"):
        Mesh(points[:, :2], FACES)
    with pytest.raises(ShapeError, match="vertices must be float32 or float64"):
        Mesh(points.long(), FACES)
    with pytest.raises(ShapeError, match=r"faces must have shape \[F, 3\]"):
        Mesh(points, FACES[:, :2])
    with pytest.raises(ShapeError, match="faces must be int64"):
        Mesh(points, FACES.int())
    for wrong in (3, -1):
        with pytest.raises(ShapeError, match=rf"faces must be in 0..2 \(the number of vertices\), got {wrong}"):
            Mesh(points, torch.tensor([[0, 1, wrong]]))
    with pytest.raises(ShapeError, match="uvs and uv_faces must be given together"):
        Mesh(points, FACES, uvs=torch.zeros(3, 2))
    with pytest.raises(ShapeError, match=r"uv_faces must have shape \[1, 3\]"):
        Mesh(points, FACES, torch.zeros(3, 2), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"uv_faces must be in 0..2 \(the number of uvs\), got 7"):
        Mesh(points, FACES, torch.zeros(3, 2), torch.tensor([[0, 1, 7]]))


def test_oriented_turns_all_that_belongs_to_a_face():
    mesh = square(torch.float64)
    numbers = torch.tensor([[0, 1, 2], [0, 2, 3]])
    smooth = dataclasses.replace(mesh, normal_faces=numbers)
    turned = dataclasses.replace(
        smooth,
        faces=torch.tensor([[0, 1, 2], [3, 2, 0]]),
        uv_faces=torch.tensor([[0, 1, 2], [3, 2, 0]]),
        normal_faces=torch.tensor([[0, 1, 2], [3, 2, 0]]),
        topology=None,
    )
    found = turned.oriented()
    for name in ("faces", "uv_faces", "normal_faces"):
        assert torch.equal(getattr(found, name), numbers)
    assert not bool(found.find_turned().any())
    assert smooth.oriented() is smooth


def test_an_oriented_mesh_is_creased_as_before():
    mesh = bumpy(2, torch.float64)
    turned = torch.arange(mesh.n_faces)[:, None] % 5 == 0
    mixed = Mesh(mesh.vertices, torch.where(turned, mesh.faces.flip(1), mesh.faces)).with_crease(90)
    assert torch.equal(mixed.oriented().normal_faces, mesh.with_crease(90).normal_faces)
    assert not torch.equal(mixed.normal_faces, mesh.with_crease(90).normal_faces)
