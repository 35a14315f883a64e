"""Smoothing groups of OBJ files, which say where a surface without stated normals is smooth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts
from diffrender.readers.meshes.smoothing import FLAT
from diffrender.scene.shading_points import VertexFrames

# A roof: two slopes of 45 degrees that share the ridge 3-4, cut so that both weigh as much there; a wall below 5-6.
ROOF = "v 0 0 0\nv 0 2 0\nv 1 0 1\nv 1 2 1\nv 2 0 0\nv 2 2 0\nv 2 0 -1\nv 2 2 -1\n"
LEFT, RIGHT, WALL = "f 1 3 4 2\n", "f 4 3 5 6\n", "f 5 7 8 6\n"
UP_LEFT, UP_RIGHT, ASIDE = np.array([-1, 0, 1]) / 2**0.5, np.array([1, 0, 1]) / 2**0.5, np.array([1.0, 0, 0])
TWO = "v 0 0 0\nv 0 2 0\nv 1 0 1\nv 1 2 1\nv 2 0 0\nv 2 2 0\n"


def read(folder: Path, text: str) -> MeshData:
    (folder / "a.obj").write_text(text)
    return read_mesh(folder / "a.obj")


def corner_normals(data: MeshData) -> np.ndarray:
    """Return the normals [F, 3, 3] that the corners of a mesh are shaded with."""
    frames = VertexFrames(data.mesh, data.mesh.vertices)
    return frames.normals_w[frames.normal_faces].numpy()


@pytest.mark.parametrize("off", ["off", "0"])
def test_faces_without_a_group_are_flat(tmp_path: Path, off: str) -> None:
    data = read(tmp_path, f"{ROOF}s {off}\n{LEFT}{RIGHT}{WALL}")
    expected = np.repeat([UP_LEFT, UP_RIGHT, ASIDE], 2, 0)[:, None].repeat(3, 1)
    np.testing.assert_allclose(corner_normals(data), expected, atol=1e-6)
    assert data.notes == (FLAT,)
    smooth = corner_normals(read(tmp_path, f"{ROOF}s 1\n{LEFT}{RIGHT}{WALL}"))
    assert not np.allclose(smooth, expected, atol=0.1)
    np.testing.assert_array_equal(smooth, corner_normals(read(tmp_path, f"{ROOF}{LEFT}{RIGHT}{WALL}")))


def test_groups_are_smooth_inside_and_hard_between(tmp_path: Path) -> None:
    data = read(tmp_path, f"{ROOF}s 1\n{LEFT}{RIGHT}s 2\n{WALL}")
    found = corner_normals(data)
    ridge = {3: [0.0, 0, 1], 1: UP_LEFT, 5: UP_RIGHT}  # by the numbers of the file
    position = data.mesh.vertices[data.mesh.faces].numpy()
    for face in range(4):
        for corner in range(3):
            number = {0.0: 1, 1.0: 3, 2.0: 5}[float(position[face, corner, 0])]
            np.testing.assert_allclose(found[face, corner], ridge[number], atol=1e-6)
    np.testing.assert_allclose(found[4:], np.broadcast_to(ASIDE, (2, 3, 3)), atol=1e-6)
    assert data.notes == ()


def test_faces_before_the_first_group_are_in_none(tmp_path: Path) -> None:
    found = corner_normals(read(tmp_path, f"{TWO}{LEFT}s 4\n{RIGHT}"))
    np.testing.assert_allclose(found[:2], np.broadcast_to(UP_LEFT, (2, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(found[2:], np.broadcast_to(UP_RIGHT, (2, 3, 3)), atol=1e-6)


def test_stated_normals_come_first(tmp_path: Path) -> None:
    stated = "vn 0 1 0\n" + LEFT.replace("1 3 4 2", "1//1 3//1 4//1 2//1")
    found = corner_normals(read(tmp_path, f"{TWO}s off\n{stated}{RIGHT}"))
    np.testing.assert_allclose(found[:2], np.broadcast_to([0.0, 1, 0], (2, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(found[2:], np.broadcast_to(UP_RIGHT, (2, 3, 3)), atol=1e-6)


def test_a_turned_face_does_not_cancel_the_normals_of_its_group(tmp_path: Path) -> None:
    turned = "f 1 2 4 3\n"
    data = read(tmp_path, f"{ROOF}s 1\n{turned}{RIGHT}{WALL}s off\nv 9 0 0\nv 9 1 0\nv 8 0 0\nf 9 10 11\n")
    expected = read(tmp_path, f"{ROOF}s 1\n{LEFT}{RIGHT}{WALL}s off\nv 9 0 0\nv 9 1 0\nv 8 0 0\nf 9 10 11\n")
    assert data.notes == ("2 of its 7 faces face another way than the others and are turned", FLAT)
    order = lambda each: {tuple(np.round(row, 5)) for row in corner_normals(each)[:6].reshape(-1, 3)}  # noqa: E731
    assert order(data) == order(expected)


def test_a_group_runs_on_across_the_border_of_two_materials(tmp_path: Path) -> None:
    (tmp_path / "l.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    text = f"mtllib l.mtl\n{ROOF}s 1\nusemtl a\n{LEFT}usemtl b\n{RIGHT}s 2\n{WALL}"
    (tmp_path / "a.obj").write_text(text)
    for part in read_mesh_parts(tmp_path / "a.obj").values():
        on_ridge = part.mesh.vertices[part.mesh.faces][..., 0] == 1
        normals = torch.from_numpy(corner_normals(part))[on_ridge]
        torch.testing.assert_close(normals, torch.tensor([0.0, 0, 1]).expand_as(normals), atol=1e-6, rtol=0)


def test_backs_of_faces_do_not_cancel_the_normals_of_their_group(tmp_path: Path) -> None:
    found = corner_normals(read(tmp_path, f"{TWO}s 1\nf 1 3 4\nf 4 3 1\ns 2\n{RIGHT}"))
    np.testing.assert_allclose(found[0], np.broadcast_to(UP_LEFT, (3, 3)), atol=1e-6)
    np.testing.assert_allclose(found[1], np.broadcast_to(-UP_LEFT, (3, 3)), atol=1e-6)
