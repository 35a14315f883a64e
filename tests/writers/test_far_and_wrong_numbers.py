"""Mesh files of coordinates of maps, and colours that are no colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diffrender.app.bake_colors import bake_file
from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.mesh import Mesh
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.images.png import write_png
from diffrender.writers.meshes.obj import write_obj
from diffrender.writers.meshes.ply import write_ply

UTM = torch.tensor([5e5, 4.5e6, 100.0], dtype=torch.float64)
VERTICES, FACES = icosphere(2)
FAR = Mesh(VERTICES.double() + UTM, FACES)
COLORS = 0.2 + 0.6 * torch.rand(len(VERTICES), 3, generator=torch.Generator().manual_seed(0))


def farthest(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest distance of a point from the nearest of the others, where 64 bits resolve it."""
    return float((found.double()[:, None] - wanted[None]).norm(dim=2).min(1).values.max())


def test_a_glb_in_coordinates_of_maps_keeps_its_shape_and_place(tmp_path: Path) -> None:
    pose, scale = torch.eye(4, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    pose[:3, :3] = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64))
    for placed in (GlbObject("x", FAR, COLORS), GlbObject("x", FAR, COLORS, pose, scale)):
        write_glb(tmp_path / "far.glb", [placed])
        mesh = read_mesh(tmp_path / "far.glb").mesh
        wanted = placed.scale * FAR.vertices @ placed.pose[:3, :3].double().T
        assert mesh.n_vertices == len(VERTICES)
        assert farthest(mesh.vertices, wanted) < 1e-6


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_a_mesh_in_coordinates_of_maps_is_baked_where_it_is(tmp_path: Path, suffix: str) -> None:
    write_ply(tmp_path / "far.ply", FAR, COLORS)
    baked = bake_file(tmp_path / "far.ply", "texture", tmp_path / f"texture.{suffix}", 64)
    mesh = read_mesh(baked).mesh
    assert mesh.n_faces == len(FACES) and mesh.uvs is not None
    assert farthest(mesh.vertices, FAR.vertices) < 1e-6
    back = read_mesh(bake_file(baked, "vertices", tmp_path / "back.ply"))
    assert back.vertex_colors is not None and farthest(back.mesh.vertices, FAR.vertices) < 1e-6
    nearest = (back.mesh.vertices[:, None] - FAR.vertices[None]).norm(dim=2).argmin(1)
    assert float((back.vertex_colors - COLORS[nearest]).abs().mean()) < 0.02


WRITERS: dict[str, Callable[[Path, torch.Tensor], None]] = {
    "write_ply": lambda path, colors: write_ply(path, Mesh(VERTICES, FACES), colors),
    "write_obj": lambda path, colors: write_obj(path, Mesh(VERTICES, FACES), colors),
    "write_glb": lambda path, colors: write_glb(path, [GlbObject("x", Mesh(VERTICES, FACES), colors)]),
}


@pytest.mark.parametrize("name", WRITERS)
def test_colors_that_are_nan_are_refused(tmp_path: Path, name: str) -> None:
    colors = COLORS.clone()
    colors[7, 1] = torch.nan
    with pytest.raises(ShapeError, match=rf"{name}: .*color.* must be finite, got nan at index \[7, 1\]"):
        WRITERS[name](tmp_path / "file", colors)


def test_pictures_of_bytes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"floats, linear RGB in 0\.\.1, got torch\.uint8; .*linear_from_srgb"):
        write_png(tmp_path / "a.png", torch.full((4, 4, 3), 200, dtype=torch.uint8))
