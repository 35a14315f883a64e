"""What we read of glTF files, compared with what trimesh's reader gives.

It reads neither sparse accessors nor KHR_texture_transform, and normalized numbers as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from support.gltf_files import GltfBuilder
from support.material_kinds import exported_objects

from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.writers.gltf.scene import GlbObject, write_glb

OBJECTS = exported_objects()
POSITIONS = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0.5], [0, 2, 0], [1, 3, 0.25]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3], [3, 2, 4]], np.uint32)
UVS = np.array([[0, 0], [1, 0], [1, 0.75], [0, 1], [0.5, 0.25]], np.float32)
COLORS = np.array(
    [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 99, 199, 255], [80, 40, 20, 255]], np.uint8
)


class Corners(NamedTuple):
    """Values at the corners of triangles: positions in the world, texture coordinates, linear colours or None."""

    positions: np.ndarray
    uvs: np.ndarray | None
    colors: np.ndarray | None


def ours(data: MeshData) -> Corners:
    mesh = data.mesh
    uvs = None if mesh.uvs is None else mesh.uvs[mesh.uv_faces].numpy()
    colors = None if data.vertex_colors is None else data.vertex_colors[mesh.faces].numpy()
    return Corners(mesh.vertices[mesh.faces].numpy(), uvs, colors)


def theirs(path: Path) -> Corners:
    found: list[list[np.ndarray]] = [[], [], []]
    scene = trimesh.load_scene(path, process=False)
    for node in scene.graph.nodes_geometry:
        world, name = scene.graph[node]
        mesh = scene.geometry[name].copy()
        mesh.apply_transform(world)
        found[0].append(mesh.triangles)
        visual = scene.geometry[name].visual  # a copy loses attributes
        material = getattr(visual, "material", None)
        if material is None:
            colors = visual.vertex_colors if visual.kind == "vertex" else None
            factor = None
        else:
            if visual.uv is not None:
                found[1].append((visual.uv * [1, -1] + [0, 1])[mesh.faces])  # theirs run upwards
            colors = visual.vertex_attributes.data.get("color")
            factor = material.baseColorFactor
        if colors is not None or factor is not None:
            white = np.ones((len(mesh.vertices), 3))
            own = white if colors is None else colors[:, :3] / (255 if colors.dtype == np.uint8 else 1)
            found[2].append((own * (1 if factor is None else factor[:3] / 255))[mesh.faces])
    n_parts = len(found[0])
    return Corners(*(np.concatenate(each) if len(each) == n_parts else None for each in found))


def assert_same_triangles(one: Corners, other: Corners) -> None:
    """Compare triangles in any order that begin with any corner; colours to the steps of 8 bits."""
    assert one.positions.shape == other.positions.shape
    distance, match = cKDTree(other.positions.mean(1)).query(one.positions.mean(1))
    assert distance.max() < 1e-5 and len(np.unique(match)) == len(match)
    turned = np.stack([np.roll(other.positions[match], turn, 1) for turn in range(3)])
    best = np.abs(turned - one.positions).max((2, 3)).argmin(0)
    order = (np.arange(3)[None, :] - best[:, None]) % 3
    for name, mine, their, step in zip(Corners._fields, one, other, (1e-5, 1e-5, 0.005), strict=True):
        assert (mine is None) == (their is None), name
        if mine is not None and their is not None:
            aligned = np.take_along_axis(their[match], order[:, :, None], 1)
            np.testing.assert_allclose(mine, aligned, rtol=0, atol=step, err_msg=name)


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_we_write_is_read_by_both_alike(tmp_path: Path, kind: str) -> None:
    pose = make_rigid(axis_angle_to_matrix(torch.tensor([0.3, -0.8, 1.1])), torch.tensor([3.0, -2.0, 0.5]))
    placed = replace(OBJECTS[kind], pose=pose, scale=torch.tensor(0.4))
    write_glb(tmp_path / "a.glb", [GlbObject.of("a", placed), GlbObject.of("b", OBJECTS[kind])])
    assert_same_triangles(ours(read_mesh(tmp_path / "a.glb")), theirs(tmp_path / "a.glb"))


def strip(gltf: GltfBuilder) -> None:
    gltf.node(gltf.primitive(POSITIONS, np.array([1, 2, 0, 3, 4], np.uint8), mode=5))


def without_indices(gltf: GltfBuilder) -> None:
    gltf.node(gltf.primitive(POSITIONS[FACES.reshape(-1)], None))


def interleaved(gltf: GltfBuilder) -> None:
    rows = np.zeros(5, [("position", "<f4", 3), ("color", "u1", 4)])
    rows["position"], rows["color"] = POSITIONS, COLORS
    view = gltf.view(rows.tobytes(), byteStride=rows.itemsize)
    positions = gltf.accessor(rows["position"], bufferView=view)
    colors = gltf.accessor(rows["color"], bufferView=view, byteOffset=12, normalized=True)
    gltf.node(gltf.primitive(positions, FACES, COLOR_0=colors))


def factors_and_colors(gltf: GltfBuilder) -> None:
    material = gltf.add("materials", {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.25, 1, 1]}})
    colors = gltf.accessor(COLORS, normalized=True)
    gltf.node(gltf.primitive(POSITIONS, FACES, COLOR_0=colors, material=material))


def coordinates(gltf: GltfBuilder) -> None:
    gltf.node(gltf.primitive(POSITIONS, FACES, TEXCOORD_0=UVS, material=gltf.add("materials", {})))


def nodes(gltf: GltfBuilder) -> None:
    child = gltf.node(gltf.primitive(POSITIONS, FACES), scale=[2, 0.5, -1], translation=[1, 0, 0])
    matrix = gltf.node(gltf.primitive(POSITIONS, FACES), matrix=[1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 7, 8, 9, 1])
    gltf.node(rotation=[0, 0.6, 0, 0.8], translation=[0, 0, 5], children=[child, matrix])


@pytest.mark.parametrize("build", [strip, without_indices, interleaved, factors_and_colors, coordinates, nodes])
def test_foreign_files_are_read_by_both_alike(tmp_path: Path, build: Callable[[GltfBuilder], None]) -> None:
    gltf = GltfBuilder()
    build(gltf)
    has_parent = {child for node in gltf.document["nodes"] for child in node.get("children", [])}
    roots = [index for index in range(len(gltf.document["nodes"])) if index not in has_parent]
    gltf.document |= {"scene": 0, "scenes": [{"nodes": roots}]}
    path = gltf.write(tmp_path / "a.glb")
    assert_same_triangles(ours(read_mesh(path)), theirs(path))
