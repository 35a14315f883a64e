from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from support.glb_parsing import parse_glb
from support.lenses import RadialLens

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.primitives import box, icosphere
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import LIGHTS, Ambient, Directional, Point, Spot
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.scene import GlbObject, write_glb


def sphere() -> Mesh:
    return Mesh(*icosphere(2))


def unwrapped_box() -> Mesh:
    """Every face has its own piece of the texture: each corner of the box splits."""
    vertices, faces = box(1.0)
    uvs = torch.rand(36, 2, generator=torch.Generator().manual_seed(1))
    return Mesh(vertices, faces, uvs, torch.arange(36).reshape(12, 3))


def some_pose() -> torch.Tensor:
    return make_rigid(axis_angle_to_matrix(torch.tensor([0.3, 2.2, -1.0])), torch.tensor([1.0, -2.0, 3.0]))


def test_positions_faces_normals(tmp_path):
    mesh = sphere()
    write_glb(tmp_path / "a.glb", [GlbObject("ball", mesh, torch.tensor([0.25, 0.5, 1.5]))])
    glb = parse_glb(tmp_path / "a.glb")
    assert (glb.attribute("ball", "POSITION") == mesh.vertices.numpy()).all()
    assert (glb.array(glb.primitive("ball")["indices"]).reshape(-1, 3) == mesh.faces.numpy()).all()
    np.testing.assert_allclose(glb.attribute("ball", "NORMAL"), mesh.vertices.numpy(), atol=0.03)
    surface = glb.material("ball")["pbrMetallicRoughness"]
    assert surface == {"metallicFactor": 0.0, "roughnessFactor": 1.0, "baseColorFactor": [0.25, 0.5, 1.0, 1.0]}
    assert "extensions" not in glb.material("ball")


def test_vertex_colours_stay_linear_and_unlit_is_marked(tmp_path):
    mesh = sphere()
    colors = torch.rand(mesh.n_vertices, 3, requires_grad=True)
    write_glb(tmp_path / "a.glb", [GlbObject("ball", mesh, colors, unlit=True)])
    glb = parse_glb(tmp_path / "a.glb")
    assert (glb.attribute("ball", "COLOR_0") == colors.detach().numpy()).all()
    assert glb.material("ball")["extensions"] == {"KHR_materials_unlit": {}}
    assert "baseColorFactor" not in glb.material("ball")["pbrMetallicRoughness"]


def test_textures_split_vertices_at_seams_only(tmp_path):
    mesh = unwrapped_box()
    texels = torch.rand(5, 7, 3)
    write_glb(tmp_path / "a.glb", [GlbObject("box", mesh, Texture(texels))])
    glb = parse_glb(tmp_path / "a.glb")
    indices = glb.array(glb.primitive("box")["indices"])[:, 0]
    assert len(glb.attribute("box", "POSITION")) == 36
    assert (glb.attribute("box", "POSITION")[indices] == mesh.vertices[mesh.faces.reshape(-1)].numpy()).all()
    assert (glb.attribute("box", "TEXCOORD_0")[indices] == mesh.uvs[mesh.uv_faces.reshape(-1)].numpy()).all()
    normals = glb.attribute("box", "NORMAL")
    for place in np.unique(glb.attribute("box", "POSITION"), axis=0):
        copies = (glb.attribute("box", "POSITION") == place).all(1)
        assert len(np.unique(normals[copies], axis=0)) == 1  # smooth across the seam
    texture = glb.document["textures"][glb.material("box")["pbrMetallicRoughness"]["baseColorTexture"]["index"]]
    view = glb.document["bufferViews"][glb.document["images"][texture["source"]]["bufferView"]]
    with Image.open(io.BytesIO(glb.binary[view["byteOffset"] :][: view["byteLength"]])) as picture:
        pixels = np.asarray(picture) / 255
    decoded = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(decoded, texels.numpy(), atol=0.005)


def test_a_seamless_unwrap_splits_nothing(tmp_path):
    vertices, faces = box(1.0)
    mesh = Mesh(vertices, faces, torch.rand(8, 2), faces)
    write_glb(tmp_path / "a.glb", [GlbObject("box", mesh, torch.rand(8, 3))])
    glb = parse_glb(tmp_path / "a.glb")
    assert len(glb.attribute("box", "POSITION")) == 8
    assert glb.attribute("box", "TEXCOORD_0").shape == (8, 2)


def test_nodes_carry_pose_and_scale(tmp_path):
    item = GlbObject("a", sphere(), torch.ones(3), some_pose(), torch.tensor(2.5))
    other = GlbObject("b ü", unwrapped_box(), Texture(torch.rand(2, 2, 3)))
    write_glb(tmp_path / "a.glb", [item, other])
    glb = parse_glb(tmp_path / "a.glb")
    expected = item.pose.numpy().copy()
    expected[:3, :3] *= 2.5
    np.testing.assert_allclose(glb.matrix("a"), expected, atol=1e-6)
    np.testing.assert_allclose(glb.matrix("b ü"), np.eye(4), atol=1e-7)


def test_trimesh_reads_the_same_world(tmp_path):
    colors = torch.rand(162, 3)
    items = [
        GlbObject("ball", sphere(), colors, some_pose(), torch.tensor(0.5)),
        GlbObject("box", unwrapped_box(), Texture(torch.rand(4, 4, 3))),
        GlbObject("grey", sphere(), torch.full((3,), 0.5)),
    ]
    write_glb(tmp_path / "a.glb", items)
    loaded = trimesh.load_scene(tmp_path / "a.glb", process=False)
    assert len(loaded.geometry) == 3
    world = {name: loaded.geometry[part].copy() for name, (_, part) in _instances(loaded).items()}
    for name, (matrix, _) in _instances(loaded).items():
        world[name].apply_transform(matrix)
    pose = items[0].pose.numpy()
    expected = 0.5 * items[0].mesh.vertices.numpy() @ pose[:3, :3].T + pose[:3, 3]
    np.testing.assert_allclose(world["ball"].vertices, expected, atol=1e-6)
    assert world["ball"].is_watertight and world["ball"].volume > 0
    ball = loaded.geometry[_instances(loaded)["ball"][1]]
    np.testing.assert_allclose(ball.visual.vertex_attributes["color"][:, :3], colors, atol=0.003)
    assert len(world["box"].faces) == 12
    assert world["box"].visual.material.baseColorTexture.size == (4, 4)


def test_our_reader_gives_the_mesh_back(tmp_path):
    mesh, colors, texture = unwrapped_box(), torch.rand(8, 3), Texture(torch.rand(4, 6, 3))
    write_glb(tmp_path / "colors.glb", [GlbObject("box", mesh, colors)])
    write_glb(tmp_path / "texture.glb", [GlbObject("box", mesh, texture)])
    read = read_mesh(tmp_path / "colors.glb")
    assert_same_corners(read.mesh, mesh)
    order = (read.mesh.vertices[:, None] == mesh.vertices[None]).all(-1).nonzero()[:, 1]
    torch.testing.assert_close(read.vertex_colors, colors[order], atol=0.003, rtol=0)
    read = read_mesh(tmp_path / "texture.glb")
    assert_same_corners(read.mesh, mesh)
    torch.testing.assert_close(read.texture.texels, texture.texels, atol=0.005, rtol=0)


def assert_same_corners(a: Mesh, b: Mesh) -> None:
    torch.testing.assert_close(a.vertices[a.faces], b.vertices[b.faces])
    torch.testing.assert_close(a.uvs[a.uv_faces], b.uvs[b.uv_faces])


def _instances(loaded) -> dict:
    return {name: loaded.graph[name] for name in loaded.graph.nodes_geometry}


def test_lights(tmp_path):
    lights = {
        "key": Directional(torch.tensor([3.0, -4.0, 0.0]), torch.tensor([2.0, 1.0, 0.0])),
        "bulb": Point(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.25, 0.5])),
        "fill": Ambient(),
        "off": Point(intensity=torch.zeros(3)),
    }
    write_glb(tmp_path / "a.glb", [GlbObject("ball", sphere(), torch.ones(3))], lights=lights)
    glb = parse_glb(tmp_path / "a.glb")
    written = {entry["name"]: entry for entry in glb.document["extensions"]["KHR_lights_punctual"]["lights"]}
    assert list(written) == ["key", "bulb", "off"]
    assert written["key"] == {"name": "key", "type": "directional", "color": [1.0, 0.5, 0.0], "intensity": 2.0}
    assert written["bulb"] == {"name": "bulb", "type": "point", "color": [1.0, 0.5, 1.0], "intensity": 0.5}
    assert written["off"]["intensity"] == 0.0
    np.testing.assert_allclose(glb.matrix("key")[:3, :3] @ [0, 0, -1], [0.6, -0.8, 0], atol=1e-7)
    np.testing.assert_allclose(glb.matrix("bulb")[:3, 3], [1, 2, 3])
    assert glb.node("bulb")["extensions"]["KHR_lights_punctual"]["light"] == 1


def test_spot_lights_shine_along_their_axis_into_their_cones(tmp_path):
    axis, place = torch.tensor([0.3, -0.5, -2.0]), torch.tensor([1.0, 2.0, 3.0])
    spot = Spot(place, axis, torch.tensor([8.0, 4.0, 2.0]), torch.tensor(15.0), torch.tensor(40.0))
    lights = {
        "torch": spot,
        "sharp": replace(spot, inner_deg=torch.tensor(50.0)),
        "head": replace(spot, frame="camera"),
    }
    write_glb(tmp_path / "a.glb", [GlbObject("ball", sphere(), torch.ones(3))], lights=lights)
    glb = parse_glb(tmp_path / "a.glb")
    first, sharp = glb.document["extensions"]["KHR_lights_punctual"]["lights"]
    assert (first["type"], first["intensity"], first["color"]) == ("spot", 8.0, [1.0, 0.5, 0.25])
    cones = first["spot"]
    assert math.degrees(cones["innerConeAngle"]) == pytest.approx(15)
    assert math.degrees(cones["outerConeAngle"]) == pytest.approx(40)
    assert 0 < sharp["spot"]["innerConeAngle"] < sharp["spot"]["outerConeAngle"]
    np.testing.assert_allclose(glb.matrix("torch")[:3, 3], [1, 2, 3])
    unit = torch.nn.functional.normalize(axis, dim=0)
    np.testing.assert_allclose(glb.matrix("torch")[:3, :3] @ [0, 0, -1], unit, atol=1e-6)


@pytest.mark.parametrize("axis", range(6))
def test_lights_along_the_axes(tmp_path, axis):
    direction = torch.eye(3)[axis % 3] * (1 if axis < 3 else -1)
    write_glb(tmp_path / "a.glb", [GlbObject("a", sphere(), torch.ones(3))], lights={"key": Directional(direction)})
    rotation = parse_glb(tmp_path / "a.glb").matrix("key")[:3, :3]
    np.testing.assert_allclose(rotation @ [0, 0, -1], direction, atol=1e-7)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-7)


def test_only_ambient_lights_need_no_extension(tmp_path):
    write_glb(tmp_path / "a.glb", [GlbObject("a", sphere(), torch.ones(3))], lights={"fill": LIGHTS["ambient"]()})
    assert "extensionsUsed" not in parse_glb(tmp_path / "a.glb").document


@pytest.mark.parametrize("orthographic", [False, True])
def test_cameras_project_like_ours(tmp_path, orthographic):
    eye = torch.tensor([[0.0, 1.0, 4.0], [3.0, 0.5, 0.1]])
    if orthographic:
        cameras = Cameras.parallel(eye, view_height=3.0, height=90, width=120)
    else:
        cameras = Cameras.perspective(eye, fov_deg=40.0, height=90, width=120)
    cameras = replace(cameras, focal_px=cameras.focal_px * torch.tensor([1.25, 1.0]))
    write_glb(tmp_path / "a.glb", [GlbObject("ball", sphere(), torch.ones(3))], cameras)
    glb = parse_glb(tmp_path / "a.glb")
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    for view, pixels in enumerate(cameras.world_to_pixels(points).numpy()):
        name = f"camera_{view:03d}"
        seen = np.c_[points.numpy(), np.ones(20)] @ np.linalg.inv(glb.matrix(name)).T
        lens = glb.document["cameras"][glb.node(name)["camera"]]
        if orthographic:
            clip = seen[:, :2] / [lens["orthographic"]["xmag"], lens["orthographic"]["ymag"]]
            assert lens["orthographic"]["zfar"] > -seen[:, 2].min() > lens["orthographic"]["znear"] >= 0
        else:
            tangent = math.tan(lens["perspective"]["yfov"] / 2)
            clip = seen[:, :2] / -seen[:, 2:3] / [tangent * lens["perspective"]["aspectRatio"], tangent]
        x, y = (clip[:, 0] + 1) / 2 * 120, (1 - clip[:, 1]) / 2 * 90
        np.testing.assert_allclose(np.c_[x, y], pixels[:, :2], atol=1e-3)
        np.testing.assert_allclose(-seen[:, 2], pixels[:, 2], atol=1e-5)


def test_cameras_of_a_lens_that_gltf_does_not_know_are_left_out(tmp_path):
    cameras = replace(Cameras.perspective(torch.tensor([[0.0, 1.0, 4.0]])), projection=RadialLens(torch.tensor([0.1])))
    write_glb(tmp_path / "a.glb", [GlbObject("ball", sphere(), torch.ones(3))], cameras)
    document = parse_glb(tmp_path / "a.glb").document
    assert "cameras" not in document and [node["name"] for node in document["nodes"]] == ["ball"]


def test_degenerate_faces_and_unused_vertices_are_left_out(tmp_path):
    vertices, faces = icosphere(0)
    lonely = torch.full((3, 3), 9.0)
    mesh = Mesh(torch.cat([lonely, vertices]), torch.cat([faces + 3, torch.tensor([[0, 0, 1], [4, 5, 4]])]))
    write_glb(tmp_path / "a.glb", [GlbObject("a", mesh, torch.rand(15, 3))])
    glb = parse_glb(tmp_path / "a.glb")
    assert (glb.attribute("a", "POSITION") == vertices.numpy()).all()
    assert len(glb.array(glb.primitive("a")["indices"])) == 60


def test_a_face_without_area_still_has_a_unit_normal(tmp_path):
    line = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), torch.tensor([[0, 1, 2]]))
    write_glb(tmp_path / "a.glb", [GlbObject("a", line, torch.ones(3))])
    parse_glb(tmp_path / "a.glb")


def test_tiny_meshes_keep_their_normals(tmp_path):
    mesh = sphere()
    write_glb(tmp_path / "a.glb", [GlbObject("a", mesh.with_vertices(mesh.vertices * 1e-8), torch.ones(3))])
    np.testing.assert_allclose(parse_glb(tmp_path / "a.glb").attribute("a", "NORMAL"), mesh.vertices, atol=0.03)


def test_float64_keeps_its_digits_far_from_the_origin(tmp_path):
    mesh, far = sphere(), torch.tensor([500000.25, 4.5e6, -100], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = some_pose()[:3, :3].double(), far
    pose[:3, :3] = torch.linalg.qr(pose[:3, :3])[0]
    there = mesh.with_vertices(mesh.vertices.double() + far)
    for name, item, expected in (
        ("moved", GlbObject("a", there, torch.ones(3)), there.vertices),
        (
            "posed",
            GlbObject("a", there, torch.ones(3), pose, torch.tensor(2.0)),
            2 * there.vertices @ pose[:3, :3].T + far,
        ),
    ):
        write_glb(tmp_path / f"{name}.glb", [item])
        read = read_mesh(tmp_path / f"{name}.glb")
        assert read.mesh.vertices.dtype == torch.float64 and not any("rounded" in note for note in read.notes)
        corners, wanted = read.mesh.vertices[read.mesh.faces].sum(1), expected[mesh.faces].sum(1)
        middle = wanted.mean(0)
        assert torch.cdist(wanted - middle, corners - middle).amin(1).max() < 1e-5


def test_errors(tmp_path):
    path, mesh = tmp_path / "a.glb", sphere()
    with pytest.raises(ShapeError, match="at least one object"):
        write_glb(path, [])
    with pytest.raises(ShapeError, match="'ball' has a texture, but its mesh has no uvs"):
        write_glb(path, [GlbObject("ball", mesh, Texture(torch.zeros(1, 1, 3)))])
    with pytest.raises(ShapeError, match=r"base_color of object 'ball' must have shape \[162, 3\], got \[5, 3\]"):
        write_glb(path, [GlbObject("ball", mesh, torch.zeros(5, 3))])
    with pytest.raises(ShapeError, match="must be finite"):
        write_glb(path, [GlbObject("ball", mesh.with_vertices(mesh.vertices / 0), torch.zeros(3))])
    with pytest.raises(ShapeError, match="uses a vertex twice"):
        write_glb(path, [GlbObject("a", Mesh(mesh.vertices, torch.zeros(1, 3, dtype=torch.int64)), torch.zeros(3))])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_glb(tmp_path / "file" / "a.glb", [GlbObject("ball", mesh, torch.zeros(3))])
