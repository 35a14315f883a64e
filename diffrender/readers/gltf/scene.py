"""Whole scenes from glTF: objects with their poses and materials, lights and cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.readers.clean_mesh import clean_mesh
from diffrender.readers.gltf.document import GltfDocument, read_document, valid_gltf
from diffrender.readers.gltf.materials import read_material, read_textures
from diffrender.readers.gltf.nodes import hidden_nodes, place_nodes, read_cameras, read_light
from diffrender.readers.gltf.primitives import morph_weights, read_triangles, transform
from diffrender.readers.gltf.textures import placement_of_material
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

# How far a node's axes may be from equally long and at right angles, relatively, to be kept as a pose and a scale.
SAME_SCALE = 1e-5
VIEW_HEIGHT = 512


@dataclass(frozen=True)
class GltfScene:
    """The content of a glTF file. cameras: None if there are none, or if their lenses differ."""

    scene: Scene
    cameras: Cameras | None


def read_gltf_scene(
    path: str | Path, height: int = VIEW_HEIGHT, origin: Sequence[float] = (0.0, 0.0, 0.0)
) -> GltfScene:
    """Read a .glb or .gltf file: an object per primitive, directional, point and spot lights, cameras.

    Normals of the file are kept; without any, shading is smooth. Equal positions become one vertex.
    height: of the cameras' images in pixels, which glTF does not have. origin: subtracted from all positions in the
        world, in float64.
    Raises DataError if the file is missing, damaged or compressed, or holds what our materials cannot represent.
    """
    document = read_document(Path(path))
    objects: dict[str, Object] = {}
    lights: dict[str, Light] = {}
    cameras = []
    with valid_gltf(document.path):
        hidden = hidden_nodes(document)
        for node, placed in place_nodes(document):
            if id(node) in hidden:
                continue
            world = placed.copy()
            world[:3, 3] -= np.array(origin)
            if "mesh" in node:
                mesh = document.entry("meshes", node["mesh"])
                name = node.get("name") or mesh.get("name") or "object"
                for primitive in mesh["primitives"]:
                    objects[_free_name(name, objects)] = _object(document, node, mesh, primitive, world)
            light = read_light(document, node, world)
            if light is not None:
                lights[_free_name(light[0], lights)] = light[1]
            if "camera" in node:
                cameras.append((node["camera"], world))
        found = read_cameras(document, cameras, height)
    if not objects:
        raise DataError(f"{path}: holds no triangles")
    return GltfScene(Scene(objects, lights), found)


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    """Return `name`, with a number if it is taken. Dots would be read as paths of learned values."""
    name = name.replace(".", "_")
    return next(each for each in (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))) if each not in taken)


def _object(
    document: GltfDocument,
    node: Mapping[str, Any],
    mesh: Mapping[str, Any],
    primitive: Mapping[str, Any],
    world: np.ndarray,
) -> Object:
    entry = document.material(primitive)
    raw = read_triangles(document, primitive, placement_of_material(entry), morph_weights(node, mesh))
    if raw is None:
        raise DataError(f"{document.path}: holds lines or points; export it as triangles")
    scale = float(np.abs(np.linalg.det(world[:3, :3]))) ** (1 / 3)
    rotation = world[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    pose = np.eye(4)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() < SAME_SCALE and np.linalg.det(rotation) > 0:
        pose[:3, :3], pose[:3, 3] = rotation, world[:3, 3]
    else:
        # A mirror image, or not the same scale in all directions: the vertices themselves are moved.
        raw, scale = transform(raw, world), 1.0
    textures, uvs = read_textures(document, entry, raw.uvs)
    data = clean_mesh(document.path, replace(raw, uvs=uvs))
    return Object(
        data.mesh.in_float32(),  # as poses, lights and cameras are
        read_material(document, entry, data.vertex_colors, textures),
        torch.from_numpy(pose).float(),
        torch.tensor(scale, dtype=torch.float32),
    )
