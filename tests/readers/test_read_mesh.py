import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.meshes.read_mesh import MESH_READERS, read_mesh

DATA = Path(__file__).parents[3] / "shared" / "data" / "meshes"

# A square of two triangles, its corners in four colours; the texture has the same four in its quarters.
POSITIONS = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
UVS_FROM_BOTTOM = POSITIONS[:, :2] / 2 * 0.5 + 0.25
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
# Position 0 is at the bottom left of the picture, which is its second row.
CORNER_COLORS = torch.tensor([[0.0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]])


def write(path, text):
    path.write_text(text)
    return path


def color_at_corners(data):
    """[V, 3]: what the texture shows at each vertex."""
    colors = torch.zeros(data.mesh.n_vertices, 3)
    sampled = data.texture.sample(data.mesh.uvs)
    colors[data.mesh.faces.reshape(-1)] = sampled[data.mesh.uv_faces.reshape(-1)]
    return colors


def textured_obj(folder):
    Image.fromarray(QUARTERS).save(folder / "quarters picture.png")
    write(folder / "square.mtl", "newmtl skin\nKd 1 1 1\nmap_Kd quarters picture.png\nnewmtl unused\nmap_Kd none.png\n")
    lines = ["mtllib square.mtl", "usemtl skin"]
    lines += [f"v {x} {y} {z}" for x, y, z in POSITIONS]
    lines += [f"vt {u} {v}" for u, v in UVS_FROM_BOTTOM]
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in FACES]
    return write(folder / "square.obj", "\n".join(lines))


def test_obj_texture_is_the_right_way_up(tmp_path):
    data = read_mesh(textured_obj(tmp_path))
    torch.testing.assert_close(data.mesh.vertices, torch.from_numpy(POSITIONS).float())
    assert torch.equal(data.mesh.faces, torch.from_numpy(FACES))
    assert data.texture_note is None
    torch.testing.assert_close(color_at_corners(data), CORNER_COLORS)


@pytest.mark.parametrize("suffix", ["glb", "gltf"])
def test_gltf_texture_is_the_right_way_up_and_nodes_are_placed(tmp_path, suffix):
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(QUARTERS))
    visual = trimesh.visual.TextureVisuals(uv=UVS_FROM_BOTTOM, material=material)
    part = trimesh.Trimesh(POSITIONS, FACES, visual=visual, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(part, transform=trimesh.transformations.translation_matrix([0, 0, 5]))
    scene.export(tmp_path / f"square.{suffix}")
    data = read_mesh(tmp_path / f"square.{suffix}")
    torch.testing.assert_close(data.mesh.vertices, torch.from_numpy(POSITIONS + np.array([0, 0, 5])).float())
    torch.testing.assert_close(color_at_corners(data), CORNER_COLORS)


def test_gltf_mirrored_nodes_keep_their_outside_and_colours_are_linear(tmp_path):
    sphere = trimesh.creation.icosphere(subdivisions=1)
    sphere.visual.vertex_colors = np.tile([128, 64, 255, 255], (len(sphere.vertices), 1)).astype(np.uint8)
    scene = trimesh.Scene()
    scene.add_geometry(sphere)
    scene.add_geometry(sphere, transform=np.diag([-1.0, 1, 1, 1]) + np.eye(4, k=3) * 5)
    scene.export(tmp_path / "two.glb")
    data = read_mesh(tmp_path / "two.glb")
    a, b, c = data.mesh.vertices[data.mesh.faces].unbind(1)
    assert data.mesh.n_vertices == 2 * len(sphere.vertices)
    volume = (a * torch.linalg.cross(b, c)).sum() / 6
    assert volume.item() == pytest.approx(2 * sphere.volume, rel=1e-4)
    torch.testing.assert_close(data.vertex_colors[0], torch.tensor([128.0, 64, 255]) / 255)


@pytest.mark.parametrize("suffix", ["ply", "stl", "glb", "obj"])
def test_every_format_gives_the_same_welded_closed_surface(tmp_path, suffix):
    sphere = trimesh.creation.icosphere(subdivisions=2)
    flat = trimesh.Trimesh(
        sphere.triangles.reshape(-1, 3), np.arange(3 * len(sphere.faces)).reshape(-1, 3), process=False
    )
    flat.export(tmp_path / f"flat.{suffix}")
    mesh = read_mesh(tmp_path / f"flat.{suffix}").mesh
    assert (mesh.n_vertices, mesh.n_faces) == (162, 320)
    assert mesh.topology.is_closed
    assert mesh.vertices.dtype == torch.float32 and mesh.faces.dtype == torch.int64
    corners = mesh.vertices[mesh.faces]
    torch.testing.assert_close(corners, torch.from_numpy(np.array(sphere.triangles)).float(), atol=1e-6, rtol=0)


def test_uv_seams_and_negative_zero_are_welded_but_uvs_stay_apart(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv -0.0 0 0\nv 1 0 0\nv 0 -1 0\nvt 0 0\nvt 1 0\nvt 0 1\nvt .5 .5\n"
    mesh = read_mesh(write(tmp_path / "seam.obj", text + "f 1/1 2/2 3/3\nf 6/4 5/3 4/2\n")).mesh
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 1, 0]]
    assert mesh.uvs[mesh.uv_faces].tolist()[1] == [[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]]


def test_obj_polygons_negative_indices_comments_and_continued_lines(tmp_path):
    text = "# square\nv 0 0 0 # corner\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4 -3 \\\n -2 -1\nv 9 9 9\n"
    mesh = read_mesh(write(tmp_path / "a.obj", text)).mesh
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.n_vertices == 4, "a vertex that no face uses stayed"
    assert mesh.uvs is None


def test_obj_and_ply_vertex_colours_are_linearised(tmp_path):
    obj = "v 0 0 0 1 0 .5\nv 1 0 0 1 0 .5\nv 0 1 0 1 0 .5\nf 1 2 3\n"
    wanted = linear_from_srgb(torch.tensor([1.0, 0.0, 0.5])).expand(3, 3)
    torch.testing.assert_close(read_mesh(write(tmp_path / "a.obj", obj)).vertex_colors, wanted)
    triangle = trimesh.Trimesh(
        POSITIONS[:3], FACES[:1], vertex_colors=np.tile([255, 0, 128, 255], (3, 1)), process=False
    )
    triangle.export(tmp_path / "a.ply")
    torch.testing.assert_close(read_mesh(tmp_path / "a.ply").vertex_colors, wanted, atol=0.003, rtol=0)


def test_degenerate_faces_are_left_out(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 0 0\nf 1 2 3\nf 1 2 4\n"
    data = read_mesh(write(tmp_path / "a.obj", text))
    assert data.mesh.faces.tolist() == [[0, 1, 2]]
    assert data.notes == ("1 of its 2 triangles have two equal corners and are left out",)
    with pytest.raises(DataError, match="all 1 triangles are degenerate"):
        read_mesh(write(tmp_path / "b.obj", "v 0 0 0\nv 1 0 0\nf 1 2 1\n"))


def test_missing_and_several_textures_are_explained(tmp_path):
    path = textured_obj(tmp_path)
    (tmp_path / "quarters picture.png").unlink()
    data = read_mesh(path)
    assert data.texture is None and data.mesh.uvs is not None
    assert "quarters picture.png does not exist" in data.texture_note
    write(tmp_path / "square.mtl", "newmtl skin\nmap_Kd a.png\nnewmtl coat\nmap_Kd b.png\n")
    write(path, path.read_text() + "\nusemtl coat\nf 1/1 2/2 3/3\n")
    assert "2 different textures" in read_mesh(path).texture_note


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
BAD_FILES = {
    "range.obj": (TRIANGLE + "f 1 2 9\n", r"line 4: a face uses vertex 9, but the file has 3"),
    "zero.obj": (TRIANGLE + "f 0 1 2\n", r"line 4: a face uses vertex 0"),
    "negative.obj": (TRIANGLE + "f -4 1 2\n", r"line 4: a face uses vertex -4"),
    "uv.obj": (TRIANGLE + "vt 0 0\nf 1/1 2/2 3/1\n", r"line 5: a face uses texture coordinate 2"),
    "nan.obj": ("v 0 0 0\nv 1 nan 0\nv 0 1 0\nf 1 2 3\n", r"line 2 \(vertex 2\) is \[1\.0, nan, 0\.0\]"),
    "words.obj": ("v a b c\n", r"line 1: a vertex needs three numbers.*the line is 'v a b c'"),
    "short.obj": (TRIANGLE + "f 1 2\n", "line 4: a face needs at least three corners, got 2"),
    "float.obj": (TRIANGLE + "f 1 2 3.5\n", "line 4: .*3.5"),
    "empty.obj": ("# nothing\n", r"has no triangles \(0 vertices, 0 faces\)"),
    "points.obj": (TRIANGLE, r"has no triangles \(3 vertices, 0 faces\)"),
    "empty.stl": ("solid\nendsolid\n", "empty.stl: "),
    "junk.glb": ("not a glb at all", "junk.glb: its glTF header is not valid JSON"),
    "cut.glb": ("glTF", "cut.glb: is cut off after 4 bytes"),
    "junk.ply": ("hello", "junk.ply: is not a PLY file"),
    "mesh.xyz": ("", r"unknown mesh format \.xyz; it must be one of \.obj, \.ply"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_with_file_and_place(tmp_path, name):
    text, message = BAD_FILES[name]
    with pytest.raises(DataError, match=message) as caught:
        read_mesh(write(tmp_path / name, text))
    assert str(tmp_path / name) in str(caught.value)


PLY = (
    "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    "element face {n}\nproperty list uchar int vertex_indices\nend_header\n{x} 0 0\n1 0 0\n0 1 0\n{faces}"
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"n": 1, "x": "0", "faces": "3 0 1 7\n"},
            r"row 0 of its element 'face' uses vertex 7, but there are only 3",
        ),
        ({"n": 1, "x": "nan", "faces": "3 0 1 2\n"}, r"row 0 of its element 'vertex' is \[nan, 0\.0, 0\.0\]"),
        ({"n": 0, "x": "0", "faces": ""}, "is a point cloud: 3 vertices and no faces"),
    ],
)
def test_bad_ply_is_refused_with_place(tmp_path, fields, message):
    with pytest.raises(DataError, match=message):
        read_mesh(write(tmp_path / "bad.ply", PLY.format(**fields)))


@pytest.mark.parametrize("suffix", MESH_READERS)
def test_missing_files_are_named(tmp_path, suffix):
    with pytest.raises(DataError, match=r"none\S+: does not exist"):
        read_mesh(tmp_path / f"none{suffix}")


def test_compressed_gltf_is_refused(tmp_path):
    trimesh.Scene(trimesh.creation.box()).export(tmp_path / "box.gltf")
    header = json.loads((tmp_path / "box.gltf").read_text())
    header["extensionsRequired"] = header["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    write(tmp_path / "box.gltf", json.dumps(header))
    with pytest.raises(DataError, match=r"compressed with KHR_draco_mesh_compression.*export it without"):
        read_mesh(tmp_path / "box.gltf")


def test_gltf_without_its_buffer_is_refused(tmp_path):
    trimesh.Scene(trimesh.creation.box()).export(tmp_path / "box.gltf")
    for buffer in tmp_path.glob("*.bin"):
        buffer.unlink()
    with pytest.raises(DataError, match=r"box\.gltf: the file \S+\.bin, to which it refers, cannot be read"):
        read_mesh(tmp_path / "box.gltf")


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is absent")
def test_spot_and_suzanne():
    spot = read_mesh(DATA / "spot" / "spot.obj")
    assert (spot.mesh.n_vertices, spot.mesh.n_faces) == (2930, 5856) and spot.mesh.topology.is_closed
    assert spot.texture is not None and spot.texture.texels.shape == (1024, 1024, 3)
    # The cow is white but for some spots, its horns (top) brown.
    colors = color_at_corners(spot)
    horns = colors[spot.mesh.vertices[:, 1] > 0.93 * spot.mesh.vertices[:, 1].max()].mean(0)
    assert horns[0] > 2 * horns[2] and colors.median(0).values.min() > 0.6
    assert read_mesh(DATA / "suzanne" / "suzanne.obj").mesh.n_faces == 968
