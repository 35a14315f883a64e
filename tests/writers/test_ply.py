from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from support.shapes import smooth_colors, square

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.primitives import box, icosphere
from diffrender.imaging.color import srgb_from_linear
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture
from diffrender.writers.meshes.ply import write_ply


def header(path: Path) -> str:
    return path.read_bytes().partition(b"end_header\n")[0].decode()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vertices_in_order_and_colours(tmp_path: Path, dtype: torch.dtype) -> None:
    mesh = Mesh(icosphere(1).vertices.to(dtype) / 3, icosphere(1).faces)
    colors = smooth_colors(mesh.vertices).requires_grad_()
    write_ply(tmp_path / "a.ply", mesh, colors)
    loaded = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_array_equal(loaded.vertices, mesh.vertices.numpy())
    np.testing.assert_array_equal(loaded.faces, mesh.faces.numpy())
    encoded = (srgb_from_linear(colors.detach()) * 255).round()
    np.testing.assert_array_equal(loaded.visual.vertex_colors[:, :3], encoded.numpy())
    assert ("property double x" in header(tmp_path / "a.ply")) == (dtype == torch.float64)
    read = read_mesh(tmp_path / "a.ply")
    torch.testing.assert_close(read.vertex_colors, colors.detach().float(), atol=0.01, rtol=0)
    assert torch.equal(read.mesh.faces, mesh.faces)


def test_one_colour_or_none(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", Mesh(*box(1.0)), torch.tensor([2.0, -1.0, 0.5]))
    assert np.unique(trimesh.load(tmp_path / "a.ply").visual.vertex_colors, axis=0).tolist() == [[255, 0, 188, 255]]
    write_ply(tmp_path / "b.ply", Mesh(*box(1.0)))
    assert "red" not in header(tmp_path / "b.ply") and trimesh.load(tmp_path / "b.ply").is_watertight


def test_normals_of_the_mesh_and_hard_edges(tmp_path: Path) -> None:
    ball = Mesh(*icosphere(1))
    tilted = torch.nn.functional.normalize(ball.vertices + torch.tensor([0.3, 0, 0]), dim=1)
    write_ply(tmp_path / "a.ply", replace(ball, normal_faces=ball.faces, normals=tilted), torch.ones(3))
    loaded = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_allclose(loaded.vertex_normals, tilted.numpy(), atol=1e-6)
    np.testing.assert_array_equal(loaded.faces, ball.faces.numpy())
    cube = Mesh(*box(1.0)).with_crease(30)
    write_ply(tmp_path / "b.ply", cube, torch.rand(8, 3))
    read = read_mesh(tmp_path / "b.ply").mesh
    assert (read.n_vertices, read.n_normals) == (8, 24)
    assert read.normals is not None and read.normal_faces is not None
    assert float(read.normals.abs().max(1).values.min()) == pytest.approx(1.0)


def test_a_texture_is_the_right_way_up_and_seams_stay(tmp_path: Path) -> None:
    mesh = square()
    assert mesh.uvs is not None
    mesh = replace(mesh, uvs=torch.cat([mesh.uvs, mesh.uvs * 0.5]), uv_faces=torch.tensor([[0, 1, 2], [4, 6, 7]]))
    assert mesh.uvs is not None and mesh.uv_faces is not None
    write_ply(tmp_path / "thing.ply", mesh, Texture(torch.rand(2, 3, 3)))
    assert "comment TextureFile thing.png\n" in header(tmp_path / "thing.ply")
    assert "element vertex 4\n" in header(tmp_path / "thing.ply")
    loaded = trimesh.load(tmp_path / "thing.ply", process=False)
    flipped = mesh.uvs[mesh.uv_faces] * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    np.testing.assert_allclose(loaded.visual.uv[loaded.faces], flipped.numpy(), atol=1e-6)
    np.testing.assert_allclose(loaded.vertices[loaded.faces], mesh.vertices[mesh.faces].numpy())
    assert loaded.visual.material.image.size == (3, 2)
    with Image.open(tmp_path / "thing.png") as picture:
        assert picture.size == (3, 2)


def test_errors(tmp_path: Path) -> None:
    mesh = Mesh(*box(1.0))
    with pytest.raises(ShapeError, match="texture needs a mesh with uvs"):
        write_ply(tmp_path / "a.ply", mesh, Texture(torch.zeros(1, 1, 3)))
    with pytest.raises(ShapeError, match=r"colors must have shape \[8, 3\], got \[7, 3\]"):
        write_ply(tmp_path / "a.ply", mesh, torch.zeros(7, 3))
    with pytest.raises(ShapeError, match="no faces"):
        write_ply(tmp_path / "a.ply", Mesh(mesh.vertices, mesh.faces[:0]))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_ply(tmp_path / "file" / "a.ply", mesh)
