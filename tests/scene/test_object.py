from dataclasses import replace

import pytest
import torch
from support.shapes import bumpy, placed, triangle

from diffrender.errors import BackendError, ShapeError
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.materials import Unlit
from diffrender.scene.object import Object


def posed(dtype=torch.float64):
    pose = torch.eye(4, dtype=dtype)
    pose[:3, :3] = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2], dtype=dtype))
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0], dtype=dtype)
    return pose


def test_scale_then_rotation_then_translation():
    mesh, pose = bumpy(1, torch.float64), posed()
    expected = torch.stack([pose[:3, :3] @ (2.5 * point) + pose[:3, 3] for point in mesh.vertices])
    torch.testing.assert_close(placed(mesh, pose=pose, scale=2.5).vertices_w(), expected)


def test_by_default_it_stands_where_the_mesh_is():
    mesh = triangle()
    assert Object(mesh, Unlit()).vertices_w() is mesh.vertices  # nothing is computed
    with pytest.raises(BackendError):
        Object(mesh, Unlit()).vertices_w("bogus")


def test_gradients_match_finite_differences():
    mesh = triangle(torch.float64)

    def world(vertices, pose, scale):
        return Object(mesh.with_vertices(vertices), Unlit(), pose, scale).vertices_w()

    leaves = (mesh.vertices, posed(), torch.tensor(1.3, dtype=torch.float64))
    assert torch.autograd.gradcheck(world, [leaf.clone().requires_grad_() for leaf in leaves])


def test_gradients_are_the_same_for_any_number_of_threads():
    mesh = bumpy(6)
    weights = torch.rand(mesh.n_vertices, 3, generator=torch.Generator().manual_seed(0))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        leaves = [mesh.vertices.clone(), posed(torch.float32), torch.tensor(1.3)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        world = Object(mesh.with_vertices(leaves[0]), Unlit(), leaves[1], leaves[2]).vertices_w()
        found.append([world.detach(), *torch.autograd.grad(world, leaves, weights)])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


def test_normals_of_the_mesh_are_turned_with_it():
    normals = torch.nn.functional.normalize(torch.randn(2, 3, dtype=torch.float64), dim=1)
    mesh = replace(triangle(torch.float64), normal_faces=torch.tensor([[0, 1, 1]]), normals=normals)
    item = Object(mesh, Unlit(), posed(), torch.tensor(2.5, dtype=torch.float64))
    turned = item.mesh_w()
    assert torch.equal(turned.vertices, item.vertices_w())
    torch.testing.assert_close(turned.normals, normals @ posed()[:3, :3].T)
    assert torch.equal(turned.normal_faces, mesh.normal_faces)
    single = Object(replace(mesh, vertices=mesh.vertices.float(), normals=normals.float()), Unlit(), posed()).mesh_w()
    assert single.vertices.dtype == single.normals.dtype == torch.float64
    assert Object(triangle(), Unlit()).mesh_w().normals is None


def test_errors():
    mesh = triangle()
    with pytest.raises(ShapeError, match=r"pose must have shape \[4, 4\]"):
        Object(mesh, Unlit(), torch.eye(3))
    with pytest.raises(ShapeError, match=r"pose must be finite, got nan at index \[0, 0\]"):
        Object(mesh, Unlit(), torch.full((4, 4), torch.nan))
    for turned, fault in (
        ((1.0, -1.0, 1.0), "mirror image"),
        ((0.4, 0.4, 0.4), "scaled by 0.4; .* store the scale apart"),
        ((1.0, 2.0, 1.0), r"not orthonormal: rows of length \[1, 2, 1\]"),
    ):
        with pytest.raises(ShapeError, match=rf"Object: pose must be a rigid motion .*{fault}"):
            Object(mesh, Unlit(), torch.diag(torch.tensor([*turned, 1.0])))
    step = torch.eye(4)
    step[0, 1] = 0.009  # as differences and gradient steps move it
    Object(mesh, Unlit(), step)
    for scale in (-1.0, -torch.inf):
        with pytest.raises(ShapeError, match=f"Object: scale must be positive, got {scale:g}"):
            Object(mesh, Unlit(), scale=torch.tensor(scale))
    with pytest.raises(ShapeError, match=r"scale must have shape \[\]"):
        Object(mesh, Unlit(), scale=torch.ones(1))


def test_a_pose_that_changes_nothing_is_still_learned_and_still_widens():
    mesh = triangle()
    pose = torch.eye(4, requires_grad=True)
    moved = Object(mesh, Unlit(), pose).vertices_w()
    assert torch.equal(moved, mesh.vertices)
    assert bool(torch.autograd.grad(moved.sum(), pose)[0][:3].any())
    assert Object(mesh, Unlit(), torch.eye(4, dtype=torch.float64)).vertices_w().dtype == torch.float64
    shifted = torch.eye(4)
    shifted[0, 3] = 1e-6
    assert not torch.equal(Object(mesh, Unlit(), shifted).vertices_w(), mesh.vertices)


def test_a_tangent_of_a_pose_that_changes_nothing_is_not_lost():
    item = triangle()
    with torch.autograd.forward_ad.dual_level():
        pose = torch.autograd.forward_ad.make_dual(torch.eye(4), torch.ones(4, 4))
        tangent = torch.autograd.forward_ad.unpack_dual(Object(item, Unlit(), pose).vertices_w()).tangent
    expected = item.vertices.sum(1, keepdim=True) + 1
    torch.testing.assert_close(tangent, expected.expand(3, 3))
