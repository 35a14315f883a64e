import pytest
import torch
from support.comparators import assert_gradients_agree
from support.pictures import assert_images_agree
from support.shapes import (
    BACKGROUND,
    bumpy,
    flat_camera,
    front_camera,
    oblique_cameras,
    placed,
    scene_of,
    smooth_colors,
    square,
)

from diffrender.geometry.topology import Topology
from diffrender.render.edge_models import Antialias, Hard
from diffrender.render.render import render
from diffrender.render.scene_triangles import gather_triangles
from diffrender.scene.lights import Directional
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene

RED, BLUE = torch.tensor([0.9, 0.1, 0.2]), torch.tensor([0.1, 0.3, 0.8])
EDGES = pytest.mark.parametrize("edges", [Antialias(), Hard()], ids=["antialias", "hard"])


def near_and_far():
    return placed(square(z=0.5, side=1.0), Unlit(RED)), placed(square(z=-0.5, side=1.5), Unlit(BLUE))


@EDGES
@pytest.mark.parametrize("far_first", [False, True])
def test_the_nearer_object_hides_the_one_behind_whatever_their_order(edges, far_first):
    near, far = near_and_far()
    scene = scene_of(far, near) if far_first else scene_of(near, far)
    output = render(scene, flat_camera(16, 16), edges)
    expected = torch.tensor(BACKGROUND).repeat(16, 16, 1)
    expected[2:14, 2:14] = BLUE
    expected[4:12, 4:12] = RED
    assert_images_agree(output.rgba[0, ..., :3], expected, error_at_most=1e-5)
    assert output.depth[0, 8, 8] == 2.5 and output.depth[0, 3, 8] == 3.5
    assert output.face_id[0, 8, 8] // 2 == int(far_first)


def test_an_edge_mixes_the_colours_of_both_objects_and_stays_opaque():
    _, far = near_and_far()
    # A quarter of a pixel to the right: the left border pixels of the near one are three quarters covered.
    pose = torch.eye(4)
    pose[0, 3] = 0.25 * 2 / 16
    moved = placed(square(z=0.5), Unlit(RED), pose)
    rgba = render(scene_of(moved, far), flat_camera(16, 16)).rgba[0]
    torch.testing.assert_close(rgba[8, 4, :3], 0.75 * RED + 0.25 * BLUE)
    torch.testing.assert_close(rgba[8, 12, :3], 0.25 * RED + 0.75 * BLUE)
    torch.testing.assert_close(rgba[8, 2:14, 3], torch.ones(12))


def test_colours_are_composited_over_the_background_by_coverage():
    pose = torch.eye(4)
    pose[0, 3] = 0.25 * 2 / 16
    rgba = render(scene_of(placed(square(), Unlit(RED), pose)), flat_camera(16, 16)).rgba[0]
    torch.testing.assert_close(
        rgba[8, 4], torch.cat([0.75 * RED + 0.25 * torch.tensor(BACKGROUND), torch.tensor([0.75])])
    )


@EDGES
def test_one_mesh_cut_into_two_objects_looks_the_same(edges):
    mesh = bumpy(3)
    half = mesh.n_faces // 2
    colors = smooth_colors(mesh.vertices)
    whole = scene_of(placed(mesh, Unlit(colors)))
    parts = [placed(Mesh(mesh.vertices, faces), Unlit(colors)) for faces in (mesh.faces[:half], mesh.faces[half:])]
    cameras = oblique_cameras(2, 48)
    one, two = render(whole, cameras, edges), render(scene_of(*parts), cameras, edges)
    assert torch.equal(one.face_id, two.face_id) and torch.equal(one.depth, two.depth)
    # The cut is a boundary, so its pixels are supersampled, also where the outline alone would cut them in two.
    bounds = {"error_at_most": 1e-6} if isinstance(edges, Hard) else {"error_at_most": 0.1, "rms_at_most": 0.005}
    assert_images_agree(one.rgba, two.rgba, **bounds)


def test_hidden_objects_get_no_gradient_and_visible_ones_their_own():
    near, far = near_and_far()
    hidden = square(z=0.2, side=0.5)
    meshes = [m.with_vertices(m.vertices.clone().requires_grad_()) for m in (near.mesh, far.mesh, hidden)]
    colors = [c.clone().requires_grad_() for c in (RED, BLUE, RED)]
    scene = scene_of(*(placed(mesh, Unlit(color)) for mesh, color in zip(meshes, colors, strict=True)))
    loss = (render(scene, flat_camera(16, 16)).rgba * torch.rand(16, 16, 4)).sum()
    gradients = torch.autograd.grad(loss, [mesh.vertices for mesh in meshes] + colors)
    shown = [bool(gradient.any()) for gradient in gradients]
    assert shown == [True, True, False, True, True, False]


def test_each_object_has_its_own_material_pose_and_scale():
    def place(x, scale):
        pose = torch.eye(4)
        pose[0, 3] = x
        return pose, scale

    left = placed(square(), Unlit(RED), *place(-0.5, 0.5))
    right = placed(square(), Lambert(BLUE), *place(0.5, 0.75))
    sun = Directional(torch.tensor([0.0, 0.0, -1.0]), torch.full((3,), torch.pi))
    rgba = render(scene_of(left, right, lights={"sun": sun}), flat_camera(16, 16)).rgba[0]
    torch.testing.assert_close(rgba[6:10, 2:6, :3], RED.expand(4, 4, 3))
    torch.testing.assert_close(rgba[5:11, 9:15, :3], BLUE.expand(6, 6, 3))
    assert float(rgba[..., 3].sum()) == 4 * 4 + 6 * 6


def test_numba_and_reference_agree_on_gradients_of_two_objects():
    found = []
    for backend in ("numba", "reference"):
        a = bumpy(2, torch.float64)
        vertices = [(a.vertices + shift).requires_grad_() for shift in (torch.tensor([0.3, 0, 0.3]), torch.zeros(3))]
        scene = scene_of(*(placed(a.with_vertices(points)) for points in vertices))
        output = render(scene, front_camera(48, torch.float64), backend=backend)
        weights = torch.linspace(-1, 1, output.rgba.numel(), dtype=torch.float64).sin().reshape(output.rgba.shape)
        found.append(torch.autograd.grad((output.rgba * weights).sum(), vertices))
    for ours, expected in zip(*found, strict=True):
        assert_gradients_agree(ours, expected, relative_l2_at_most=1e-6, bias_at_most=1e-6)


def test_gathered_geometry_keeps_the_objects_apart():
    a, b = placed(bumpy(1)), placed(square())
    geometry = gather_triangles(Scene({"a": a, "b": b}))
    assert geometry.first_face == (0, 80, 82)
    assert torch.equal(geometry.topology.faces[80:], b.mesh.faces + 42)
    assert torch.equal(geometry.verts_w, torch.cat([a.mesh.vertices, b.mesh.vertices]))
    assert not geometry.topology.is_closed and gather_triangles(Scene({"a": a})).topology.is_closed
    # A single object's topology, and what is derived from it, is reused.
    assert gather_triangles(Scene({"a": a})).topology is a.mesh.topology
    assert isinstance(geometry.topology, Topology)
