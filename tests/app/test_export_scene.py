"""Meshes as a run leaves them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.shapes import bumpy, smooth_colors, square

from diffrender.app.export_scene import write_meshes
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture
from diffrender.writers.run.run_folder import RunFolder


def posed() -> torch.Tensor:
    pose = torch.eye(4)
    pose[:3, :3] = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2]))
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    return pose


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0)])
@pytest.mark.parametrize("written", ["a_obj/a.obj", "a.ply", "a.glb"])
def test_normals_of_a_file_are_turned_with_the_object(
    tmp_path: Path, written: str, origin: tuple[float, float, float]
) -> None:
    ball = bumpy(1)
    tilted = torch.nn.functional.normalize(ball.vertices + torch.tensor([0.3, 0, 0]), dim=1)
    item = Object(replace(ball, normal_faces=ball.faces, normals=tilted), Unlit(), posed(), torch.tensor(2.0))
    write_meshes(RunFolder(tmp_path), "a", [Path(written).suffix[1:]], Scene({"ball": item}), origin=origin)
    found = read_mesh(tmp_path / "mesh" / written).mesh
    expected = tilted @ posed()[:3, :3].T
    assert found.normals is not None and found.normal_faces is not None
    torch.testing.assert_close(found.normals[found.normal_faces], expected[ball.faces], atol=1e-5, rtol=0)
    corners = item.vertices_w()[ball.faces] + torch.tensor(origin)
    torch.testing.assert_close(found.vertices[found.faces], corners, atol=1e-5, rtol=0)


def test_an_obj_moves_as_one_folder_and_names_do_not_collide(tmp_path: Path) -> None:
    flat = Texture(torch.tensor([0.0, 0, 1]).expand(2, 2, 3))
    gray = [Texture(torch.full((2, 2, 3), value)) for value in (0.25, 0.75)]
    objects = {
        "a": Object(square(), Ggx(gray[0], normal=flat)),
        "a_normal": Object(square(), Ggx(gray[1])),
        "b": Object(bumpy(1), Unlit(smooth_colors(bumpy(1).vertices))),
    }
    write_meshes(RunFolder(tmp_path), "final", ["obj", "ply"], Scene(objects))
    assert {path.name for path in (tmp_path / "mesh").iterdir()} == {
        "final_a_obj", "final_a_normal_obj", "final_b_obj",
        "final_a.ply", "final_a.png", "final_a_normal.ply", "final_a_normal.png", "final_b.ply",
    }  # fmt: skip
    for name, value in (("a", 0.25), ("a_normal", 0.75)):
        moved = tmp_path / "elsewhere" / name
        shutil.move(tmp_path / "mesh" / f"final_{name}_obj", moved)
        data = read_mesh(moved / f"final_{name}.obj")
        assert data.texture is not None
        torch.testing.assert_close(data.texture.texels, torch.full((2, 2, 3), value), atol=0.005, rtol=0)
    painted = read_mesh(tmp_path / "mesh" / "final_b.ply")
    torch.testing.assert_close(painted.vertex_colors, smooth_colors(bumpy(1).vertices), atol=0.01, rtol=0)
