"""Mesh files as other programs write them: what went wrong with them silently."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
PLY_HEADER = (
    "ply\nformat ascii 1.0\n{comment}element vertex 3\nproperty float x\nproperty float y\nproperty float z\n{more}"
)
PLY_END = "element face 1\nproperty list uchar int vertex_indices\nend_header\n{rows}3 0 1 2\n"


def read(folder: Path, content: str | bytes, suffix: str = ".obj") -> MeshData:
    (folder / f"a{suffix}").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_mesh(folder / f"a{suffix}")


def test_a_byte_order_mark_before_latin_1_costs_no_vertex(tmp_path: Path) -> None:
    data = read(tmp_path, BOM_UTF8 + SQUARE.encode() + b"o h\xf6lz\nf 1 2 3\nf 1 3 4\n")
    assert data.mesh.n_vertices == 4 and data.mesh.bounds().tolist() == [[0, 0, 0], [1, 1, 0]] and data.notes == ()


def test_of_two_libraries_the_first_that_has_a_name_counts(tmp_path: Path) -> None:
    (tmp_path / "one.mtl").write_text("newmtl a\nKd 1 0 0\n")
    (tmp_path / "two.mtl").write_text("newmtl a\nKd 0 1 0\nnewmtl b\nKd 0 0 1\n")
    found = read(tmp_path, f"mtllib one.mtl two.mtl\n{SQUARE}usemtl a\nf 1 2 3\n").vertex_colors
    assert found is not None and found.unique(dim=0).tolist() == [[1, 0, 0]]
    found = read(tmp_path, f"mtllib one.mtl two.mtl\n{SQUARE}usemtl b\nf 1 2 3\n").vertex_colors
    assert found is not None and found.unique(dim=0).tolist() == [[0, 0, 1]]


def test_materials_without_any_library_are_told(tmp_path: Path) -> None:
    told = "its faces name materials (usemtl), but it names no library that has them (mtllib)"
    assert read(tmp_path, f"{SQUARE}usemtl skin\nf 1 2 3\n").notes == (told,)
    assert read(tmp_path, f"{SQUARE}usemtl None\nf 1 2 3\n").notes == ()


def test_quotes_around_the_name_of_a_material(tmp_path: Path) -> None:
    (tmp_path / "one.mtl").write_text("newmtl dark red\nKd 1 0 0\n")
    data = read(tmp_path, f'mtllib one.mtl\n{SQUARE}usemtl "dark red"\nf 1 2 3\n')
    assert data.vertex_colors is not None and data.notes == ()


def test_backs_of_faces_do_not_cancel_their_normals(tmp_path: Path) -> None:
    # Front and back of a square, and a face that is there twice the same way.
    data = read(tmp_path, f"{SQUARE}f 1 2 3\nf 3 2 1\nf 1 3 4\nf 4 3 1\nf 3 4 1\n")
    assert data.notes == ("2 of its 5 triangles are the backs of others and are left out",)
    normals = data.mesh.vertices[data.mesh.faces]
    normals = torch.linalg.cross(normals[:, 1] - normals[:, 0], normals[:, 2] - normals[:, 0])
    assert normals.tolist() == [[0, 0, 1]] * 3


def test_backs_with_normals_of_their_own_are_kept(tmp_path: Path) -> None:
    text = f"{SQUARE}vn 0 0 1\nvn 0 0 -1\nf 1//1 2//1 3//1\nf 3//2 2//2 1//2\n"
    data = read(tmp_path, text)
    assert data.mesh.n_faces == 2 and data.notes == ()


@pytest.mark.parametrize("name", ['comment texture: "my wood.png"', "comment texture wood.JPG"])
def test_pictures_that_comments_of_ply_name_otherwise_are_told(tmp_path: Path, name: str) -> None:
    header = PLY_HEADER.format(comment=f"{name}\n", more="property float s\nproperty float t\n")
    data = read(tmp_path, header + PLY_END.format(rows="0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n"), ".ply")
    line = name.removeprefix("comment ")
    assert data.notes == (f"its comment {line!r} is not read: a texture is named by `comment TextureFile FILE`",)


def test_parts_of_a_normal_are_told(tmp_path: Path) -> None:
    header = PLY_HEADER.format(comment="comment made by hand\n", more="property float nx\nproperty float ny\n")
    data = read(tmp_path, header + PLY_END.format(rows="0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n"), ".ply")
    assert data.notes == ("nx, ny of its element 'vertex' are not read",) and data.mesh.normals is None


def facet(normal: str, z: float = 0) -> str:
    corners = "".join(f"vertex {x} {y} {z}\n" for x, y in ((0, 0), (1, 0), (0, 1)))
    return f"facet normal {normal}\nouter loop\n{corners}endloop\nendfacet\n"


@pytest.mark.parametrize("binary", [False, True])
def test_normals_of_stl_against_the_order_of_corners_are_told(tmp_path: Path, binary: bool) -> None:
    told = ("the normals of 1 of its 4 facets oppose the order of their corners, which counts",)
    if binary:
        rows = np.zeros(4, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        rows["normal"] = [[0, 0, -1], [0, 0, 1], [0, 0, 0], [0, 0, 1]]
        rows["corners"] = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])[None] + np.arange(4)[:, None, None]
        data = read(tmp_path, bytes(80) + np.uint32(4).tobytes() + rows.tobytes(), ".stl")
    else:
        text = facet("0 0 -1") + facet("0 0 1", 1) + facet("- - nan", 2) + facet("0 0 1", 3)
        data = read(tmp_path, f"solid a\n{text}endsolid a\n", ".stl")
    assert data.notes == told
    a, b, c = data.mesh.vertices[data.mesh.faces].unbind(1)
    assert bool((torch.linalg.cross(b - a, c - a)[:, 2] > 0).all())
