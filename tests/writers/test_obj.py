from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.primitives import box, icosphere
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture
from diffrender.writers.meshes.obj import write_obj


def lines(path, word: str) -> list[list[str]]:
    return [line.split()[1:] for line in path.read_text().splitlines() if line.split()[0] == word]


def quad() -> Mesh:
    """Two triangles that share an edge in space but not in the texture."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uvs = torch.tensor([[0.1, 0.9], [0.4, 0.9], [0.4, 0.6], [0.6, 0.4], [0.9, 0.1], [0.6, 0.1]])
    return Mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs, torch.tensor([[0, 1, 2], [3, 4, 5]]))


def test_vertices_survive_bit_by_bit_in_order(tmp_path):
    mesh = Mesh(torch.randn(50, 3) * torch.logspace(-20, 20, 50)[:, None], torch.randint(0, 50, (80, 3)))
    write_obj(tmp_path / "a.obj", mesh)
    read = torch.tensor([[float(number) for number in row] for row in lines(tmp_path / "a.obj", "v")])
    assert torch.equal(read, mesh.vertices)
    assert [[int(corner) for corner in row] for row in lines(tmp_path / "a.obj", "f")] == (mesh.faces + 1).tolist()


def test_vertex_colours_are_srgb_and_trimesh_reads_them(tmp_path):
    mesh = Mesh(*icosphere(1))
    colors = torch.rand(mesh.n_vertices, 3, requires_grad=True)
    write_obj(tmp_path / "a.obj", mesh, colors)
    loaded = trimesh.load(tmp_path / "a.obj", process=False)
    np.testing.assert_allclose(loaded.vertices, mesh.vertices.numpy(), atol=1e-7)
    assert (loaded.faces == mesh.faces.numpy()).all()
    linear = colors.detach().numpy()
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(loaded.visual.vertex_colors[:, :3] / 255, encoded, atol=1 / 255)


def test_one_colour_for_all_is_clamped(tmp_path):
    write_obj(tmp_path / "a.obj", Mesh(*box(1.0)), torch.tensor([2.0, -1.0, 0.5]))
    assert {tuple(row[3:]) for row in lines(tmp_path / "a.obj", "v")} == {("1", "0", "0.735357")}


def test_texture_comes_with_its_material_and_v_points_up(tmp_path):
    texels = torch.zeros(2, 3, 3)
    texels[0, 0] = 1.0
    write_obj(tmp_path / "thing.obj", quad(), texture=Texture(texels))
    assert {path.name for path in tmp_path.iterdir()} == {"thing.obj", "thing.mtl", "thing.png"}
    assert len(lines(tmp_path / "thing.obj", "v")) == 4
    flipped = np.array(lines(tmp_path / "thing.obj", "vt"), dtype=float)
    np.testing.assert_allclose(flipped, quad().uvs.numpy() * [1, -1] + [0, 1], atol=1e-7)
    assert lines(tmp_path / "thing.obj", "f") == [["1/1", "2/2", "3/3"], ["1/4", "3/5", "4/6"]]
    assert lines(tmp_path / "thing.obj", "mtllib") == [["thing.mtl"]]
    assert lines(tmp_path / "thing.mtl", "map_Kd") == [["thing.png"]]
    assert lines(tmp_path / "thing.obj", "usemtl") == lines(tmp_path / "thing.mtl", "newmtl")
    with Image.open(tmp_path / "thing.png") as picture:
        assert picture.getpixel((0, 0)) == (255, 255, 255) and picture.getpixel((0, 1)) == (0, 0, 0)
    loaded = trimesh.load(tmp_path / "thing.obj", process=False)
    assert loaded.visual.material.image.size == (3, 2)
    assert len(loaded.faces) == 2


def test_our_reader_gives_the_mesh_back(tmp_path):
    texture = Texture(torch.rand(4, 6, 3))
    write_obj(tmp_path / "a.obj", quad(), texture=texture)
    read = read_mesh(tmp_path / "a.obj")
    torch.testing.assert_close(read.mesh.vertices[read.mesh.faces], quad().vertices[quad().faces])
    torch.testing.assert_close(read.mesh.uvs[read.mesh.uv_faces], quad().uvs[quad().uv_faces])
    torch.testing.assert_close(read.texture.texels, texture.texels, atol=0.005, rtol=0)
    colors = torch.rand(4, 3)
    write_obj(tmp_path / "b.obj", quad(), colors)
    torch.testing.assert_close(read_mesh(tmp_path / "b.obj").vertex_colors, colors, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrap", ["clamp", "repeat"])
def test_what_is_outside_of_a_texture_stays(tmp_path, wrap):
    texture = Texture(torch.rand(4, 4, 3), wrap)
    inside = quad()
    outside = Mesh(inside.vertices, inside.faces, inside.uvs * 3 - 1, inside.uv_faces)
    write_obj(tmp_path / "b c.obj", outside, texture=texture)
    assert read_mesh(tmp_path / "b c.obj").texture.wrap == wrap
    write_obj(tmp_path / "in.obj", inside, texture=texture)  # programs that know no options read the name alone
    assert "map_Kd in.png\n" in (tmp_path / "in.mtl").read_text()
    surface = GltfSurface(texture, roughness=Texture(torch.rand(4, 4, 1), wrap), normal=texture)
    write_obj(tmp_path / "pbr.obj", outside, surface=surface)
    pictures = [line for line in (tmp_path / "pbr.mtl").read_text().splitlines() if line.endswith(".png")]
    assert len(pictures) == 4 and all((" -clamp on " in line) == (wrap == "clamp") for line in pictures)


def test_uvs_are_kept_without_a_texture(tmp_path):
    write_obj(tmp_path / "a.obj", quad(), torch.rand(4, 3))
    assert len(lines(tmp_path / "a.obj", "vt")) == 6
    assert lines(tmp_path / "a.obj", "mtllib") == []


def test_errors(tmp_path):
    mesh = Mesh(*box(1.0))
    with pytest.raises(ShapeError, match="texture needs a mesh with uvs"):
        write_obj(tmp_path / "a.obj", mesh, texture=Texture(torch.zeros(1, 1, 3)))
    with pytest.raises(ShapeError, match="no faces"):
        write_obj(tmp_path / "a.obj", Mesh(mesh.vertices, mesh.faces[:0]))
    with pytest.raises(ShapeError, match="must be finite"):
        write_obj(tmp_path / "a.obj", mesh.with_vertices(mesh.vertices * torch.nan))
    with pytest.raises(ShapeError, match=r"vertex_colors must have shape \[8, 3\], got \[7, 3\]"):
        write_obj(tmp_path / "a.obj", mesh, torch.zeros(7, 3))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_obj(tmp_path / "file" / "a.obj", mesh)


def test_a_physically_based_material_is_told_in_the_mtl(tmp_path):
    numbers, image = torch.rand(4, 4, 1), torch.rand(8, 8, 3)
    surface = GltfSurface(
        Texture(image), torch.tensor([0.75]), Texture(numbers), Texture(image - 0.5), torch.tensor([0.0, 2.0, 0.5])
    )
    write_obj(tmp_path / "a.obj", quad(), surface=surface)
    assert lines(tmp_path / "a.obj", "mtllib") == [["a.mtl"]]
    told = {line.split()[0]: line.split()[1:] for line in (tmp_path / "a.mtl").read_text().splitlines()}
    expected = {"Pr": ["1"], "Pm": ["0.75"], "Ke": ["0", "2", "0.5"], "map_Kd": ["a.png"], "norm": ["a_normal.png"]}
    expected |= {"map_Pr": ["a_roughness.png"], "map_Bump": ["a_normal.png"], "Kd": ["1", "1", "1"]}
    assert expected.items() <= told.items() and "map_Pm" not in told
    files = {path.name for path in tmp_path.glob("*.png")}
    assert files == {"a.png", "a_roughness.png", "a_normal.png"}
    found = np.asarray(Image.open(tmp_path / "a_roughness.png")) / 255
    np.testing.assert_allclose(found, numbers.expand(-1, -1, 3).numpy(), atol=0.51 / 255)


def test_plain_surfaces_need_no_mtl(tmp_path):
    colors = torch.rand(4, 3)
    write_obj(tmp_path / "a.obj", quad(), surface=GltfSurface(colors, specular=False))
    assert not (tmp_path / "a.mtl").exists() and len(lines(tmp_path / "a.obj", "v")[0]) == 6
    write_obj(tmp_path / "b.obj", quad(), surface=GltfSurface(colors, roughness=torch.tensor([0.25])))
    assert "Pr 0.25\nPm 0\n" in (tmp_path / "b.mtl").read_text() and len(lines(tmp_path / "b.obj", "v")[0]) == 6
    with pytest.raises(ShapeError, match="a texture needs a mesh with uvs"):
        write_obj(tmp_path / "c.obj", Mesh(*icosphere(0)), surface=GltfSurface(colors, Texture(torch.rand(2, 2, 1))))
