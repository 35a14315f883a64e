"""Normals per corner: flat shading, creases, normals of files; their images, gradients and way through files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import trimesh
from support.cases import make_case
from support.truth import Leaves, Motion
from torch import Tensor

from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError, OrientationWarning, ShapeError
from diffrender.fit.remeshing.remesh_object import remesh_with_attributes
from diffrender.geometry.primitives import box, icosphere, torus
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.geometry.smoothing_groups import crease_groups
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import VertexFrames
from diffrender.setup.fit_setup import build_fit
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.meshes.obj import write_obj

LIGHTS = {"sun": Directional(torch.tensor([-1.0, -1.3, -0.5]), torch.tensor([3.0, 2.5, 2.0])), "sky": Ambient()}
EYES = torch.tensor([[2.6, 2.1, 2.4], [-3.0, 0.8, -2.0]])
CAMERAS = Cameras.perspective(EYES, up=(0.3, 1.0, 0.1), fov_deg=24, height=64, width=64)
BOX = Mesh(*box(0.8))


def image_of(mesh: Mesh, pose: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return render(Scene({"a": Object(mesh, Lambert(torch.full((3,), 0.6)), pose)}, LIGHTS), CAMERAS).rgba


def unshared(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices[mesh.faces.reshape(-1)], torch.arange(3 * mesh.n_faces).reshape(-1, 3))


def corner_normals(mesh: Mesh) -> Tensor:
    """[F, 3, 3] in the frame of the mesh."""
    frames = VertexFrames(mesh, mesh.vertices)
    return frames.normals_w[frames.normal_faces]


def test_flat_shading_is_that_of_unshared_vertices() -> None:
    flat, apart = image_of(BOX.with_crease(0)), image_of(unshared(BOX))
    torch.testing.assert_close(flat, apart, rtol=1e-5, atol=1e-5)
    assert float((flat - image_of(BOX)).abs().max()) > 0.1


def test_creases_part_normals_at_sharp_edges_only() -> None:
    torch.testing.assert_close(corner_normals(BOX.with_crease(30)), corner_normals(BOX.with_crease(0)))
    ball = Mesh(*icosphere(3))
    torch.testing.assert_close(corner_normals(ball.with_crease(30)), corner_normals(ball))
    # A cylinder-like prism: smooth around, sharp at its ends.
    angle = torch.arange(24) * (2 * torch.pi / 24)
    ring = torch.stack([angle.cos(), torch.zeros(24), -angle.sin()], 1)
    tops = torch.tensor([[0.0, 1, 0], [0, -1, 0]])
    vertices = torch.cat([ring + tops[0], ring + tops[1], tops])
    i = torch.arange(24)
    j = (i + 1) % 24
    sides = torch.cat([torch.stack([i, 24 + i, j], 1), torch.stack([j, 24 + i, 24 + j], 1)])
    ends = torch.cat([torch.stack([i, j, 0 * i + 48], 1), torch.stack([24 + j, 24 + i, 0 * i + 49], 1)])
    normals = corner_normals(Mesh(vertices, torch.cat([sides, ends])).with_crease(30))
    corners = vertices[sides] * torch.tensor([1.0, 0, 1])
    torch.testing.assert_close(normals[:48], corners, rtol=0, atol=0.05)
    torch.testing.assert_close(normals[48:].sum((0, 1)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(normals[48:, :, 1].abs(), torch.ones(48, 3))


def test_groups_reach_across_vertices_that_coincide() -> None:
    ball = Mesh(*icosphere(2))
    apart = unshared(ball)
    torch.testing.assert_close(corner_normals(apart.with_crease(180)), corner_normals(ball), rtol=1e-5, atol=1e-6)
    groups = crease_groups(apart.vertices, apart.faces, 180)
    assert int(groups.max()) + 1 == ball.n_vertices
    with pytest.raises(ShapeError, match="crease_deg must be from 0 to 180, got 181"):
        crease_groups(apart.vertices, apart.faces, 181)


@pytest.mark.parametrize("crease", [0.0, 30.0])
@pytest.mark.parametrize("shape", ["box", "torus"])
def test_gradients_are_those_of_the_image(shape: str, crease: float) -> None:
    mesh = (BOX if shape == "box" else Mesh(*torus(0.5, 0.22, 12, 8))).with_crease(crease)

    def build(leaves: Leaves) -> tuple[Scene, Cameras]:
        item = Object(mesh.with_vertices(leaves["vertices"]), Lambert(torch.full((3,), 0.6)))
        return Scene({"a": item}, LIGHTS), CAMERAS.select([0])

    def motion(name: str, matrix: Tensor, shift: Tensor) -> Motion:
        return Motion(name, {"vertices": mesh.vertices @ matrix.T + shift})

    turn = torch.tensor([[0.0, -1, 0.4], [1, 0, -0.3], [-0.4, 0.3, 0]])
    stretch = torch.tensor([[1.0, 0.2, 0], [0, -0.5, 0.3], [0.1, 0, 0.4]])
    motions = [motion("turn", turn, torch.zeros(3)), motion("stretch", stretch, torch.tensor([0.2, 0.1, -0.3]))]
    target = Motion("target", {"vertices": 0.04 * mesh.vertices @ turn.T + 0.02})
    case = make_case(build, {"vertices": mesh.vertices}, motions, target, 16)
    case.check_all(f"{shape}, crease {crease}", linear=0.03, squared=0.08)


@pytest.mark.parametrize("suffix", ["obj", "glb", "ply"])
def test_normals_of_files_are_kept_and_written_again(tmp_path: Path, suffix: str) -> None:
    # Not those of the faces, so that keeping them is told from making them.
    flat = BOX.with_crease(0)
    tilted = torch.nn.functional.normalize(corner_normals(flat)[:, 0] + torch.tensor([0.1, 0.2, 0.3]), dim=1)
    mesh = Mesh(BOX.vertices, BOX.faces, normal_faces=flat.normal_faces, normals=tilted)
    path = tmp_path / f"a.{suffix}"
    if suffix == "ply":
        apart = unshared(BOX)
        normals = tilted.repeat_interleave(3, 0).numpy()
        trimesh.Trimesh(apart.vertices.numpy(), apart.faces.numpy(), vertex_normals=normals, process=False).export(
            path, vertex_normal=True
        )
    elif suffix == "obj":
        write_obj(path, mesh)
    else:
        write_glb(path, [GlbObject.of("a", Object(mesh, Lambert()))])
    found = read_mesh(path).mesh
    assert found.n_vertices == 8
    torch.testing.assert_close(corner_normals(found), corner_normals(mesh), rtol=0, atol=1e-5)
    torch.testing.assert_close(image_of(found), image_of(mesh), rtol=0, atol=1e-4)
    if suffix == "glb":
        item = read_gltf_scene(path).scene.objects["a"]
        torch.testing.assert_close(corner_normals(item.mesh), corner_normals(mesh), rtol=0, atol=1e-5)
    # Moved vertices have the normals of their faces again, with the same hard edges.
    torch.testing.assert_close(corner_normals(found.with_vertices(found.vertices)), corner_normals(flat))


@pytest.mark.parametrize("turned", ["faces", "normals", "some faces"])
def test_normals_of_a_file_at_the_back_of_its_faces_are_reversed(tmp_path: Path, turned: str) -> None:
    flat = BOX.with_crease(0)
    assert flat.normal_faces is not None
    normals = corner_normals(flat)[:, 0]
    is_turned = torch.arange(12) % 3 == 0 if turned == "some faces" else torch.full((12,), turned == "faces")
    faces, numbers = (torch.where(is_turned[:, None], each.flip(1), each) for each in (BOX.faces, flat.normal_faces))
    mesh = Mesh(BOX.vertices, faces, normal_faces=numbers, normals=-normals if turned == "normals" else normals)
    write_obj(tmp_path / "a.obj", mesh)
    found = read_mesh(tmp_path / "a.obj")
    count = 4 if turned == "some faces" else 12
    assert found.notes == (f"{count} of its 12 faces are turned against their normals, which are reversed",)
    # Of a surface that is not turned one way, the coverage of pixels at outlines is rounded to 16 samples.
    torch.testing.assert_close(image_of(found.mesh), image_of(flat), rtol=0, atol=0.05)
    assert float((image_of(mesh) - image_of(flat)).abs().max()) > 0.1


def test_faces_of_a_file_that_face_another_way_than_the_others_are_turned(tmp_path: Path) -> None:
    vertices, faces = icosphere(2, 0.6)
    uvs = torch.rand(len(faces) * 3, 2, generator=torch.Generator().manual_seed(0))
    ball = Mesh(vertices, faces, uvs, torch.arange(len(uvs)).reshape(-1, 3))
    is_turned = torch.arange(len(faces))[:, None] % 3 == 0
    assert ball.uv_faces is not None
    mixed, numbers = (torch.where(is_turned, each.flip(1), each) for each in (faces, ball.uv_faces))
    write_obj(tmp_path / "a.obj", Mesh(vertices, mixed, uvs, numbers))
    found = read_mesh(tmp_path / "a.obj")
    assert found.notes == ("107 of its 320 faces face another way than the others and are turned",)
    torch.testing.assert_close(image_of(found.mesh), image_of(ball), rtol=0, atol=1e-3)
    with pytest.warns(OrientationWarning):
        assert float((image_of(Mesh(vertices, mixed)) - image_of(ball)).abs().max()) > 0.1
    assert found.mesh.uvs is not None and found.mesh.uv_faces is not None
    torch.testing.assert_close(found.mesh.uvs[found.mesh.uv_faces], uvs[ball.uv_faces], rtol=0, atol=1e-5)


def test_a_pose_turns_the_normals_of_a_file() -> None:
    flat = BOX.with_crease(0)
    given = Mesh(BOX.vertices, BOX.faces, normal_faces=flat.normal_faces, normals=corner_normals(flat)[:, 0])
    pose = torch.eye(4)
    pose[:3, :3] = axis_angle_to_matrix(torch.tensor([0.4, -0.7, 0.2]))
    torch.testing.assert_close(image_of(given, pose), image_of(flat, pose), rtol=1e-4, atol=1e-4)


def test_remeshing_keeps_hard_edges() -> None:
    found = remesh_with_attributes(BOX.with_crease(30), {}, torch.full((8,), 0.2), 3).mesh
    assert found.n_faces > 100 and found.crease_deg == 30
    normals = corner_normals(found)
    smooth = corner_normals(found.with_crease(None))
    # The share of normals along an axis; the remesher cuts some edges and corners.
    sharp, rounded = (float((each.abs().amax(-1) > 0.98).float().mean()) for each in (normals, smooth))
    assert sharp > 0.8 and rounded < 0.7


SCENE = """
targets: {resolution: 16, synthetic: {mesh: {init: box}, material: lambert, shading: flat, lights: [ambient], views: 4}}
mesh: {init: box}
material: lambert
"""


def test_shading_of_a_scene_file(tmp_path: Path) -> None:
    flat = parse_config(SCENE + "shading: flat\noptimize: {steps: 1, mesh.vertices: {}}", tmp_path)
    setup = build_fit(flat)
    mesh = setup.scene.objects["object"].mesh
    assert mesh.crease_deg == 0 and mesh.n_normals == 12
    assert setup.target_scene is not None and setup.target_scene.objects["object"].mesh.crease_deg == 0
    again = build_fit(parse_config(format_resolved(setup.config), tmp_path))
    assert again.scene.objects["object"].mesh.crease_deg == 0
    crease = build_fit(parse_config(SCENE + "shading: {crease: 30}\noptimize: {steps: 1, pose: {}}", tmp_path))
    assert crease.scene.objects["object"].mesh.crease_deg == 30
    with pytest.raises(ConfigError, match=r"`shading` must be smooth, flat or \{crease: a number from 0 to 180\}"):
        parse_config(SCENE + "shading: sharp", tmp_path)
